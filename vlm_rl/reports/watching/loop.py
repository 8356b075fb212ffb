"""Makes a report again as its runs go on, and says on a page how far they are. Nothing is judged while a study grows."""

import gc
import hashlib
import json
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from vlm_rl.reports.composition import Content
from vlm_rl.reports.memory import Memory, Stamp, stamps_under
from vlm_rl.reports.phrase import Phrase, catalogue_of, in_language, listed, names, say, say_named
from vlm_rl.reports.reading.at_work import RunState, State, at_work_in
from vlm_rl.reports.tables.run_tables import state_table
from vlm_rl.reports.tables.table import cells
from vlm_rl.reports.verdicts.looks import FILE as LOOKS
from vlm_rl.reports.watching.server import FILES, NUMBERS, REPORT, Board, serve
from vlm_rl.run_lock import HOLDER, LOCK

ORDER: tuple[State, ...] = ("failed", "interrupted", "running", "starting", "waiting", "finished")
LATELY_S = 60.0  # that the next job of a sweep may take to begin, after the last one has ended
NOT_READ = (REPORT, NUMBERS, FILES, LOOKS, "images", "wandb", HOLDER, LOCK)  # of a study: what a report does not depend on

Make = Callable[[Collection[Path]], Content]  # from the studies where somebody was at work a moment ago
Draw = Callable[[Content, Callable[[], bool]], None]  # what is drawn after the page; until it is told to stop
Tell = Callable[[Sequence[RunState], Content], None]  # (states in the last report, the new report)


@dataclass(kw_only=True)
class Watcher:
    """Looks at folders, and makes the report where anything in them has changed."""

    studies: Sequence[Path]
    make: Make
    draw: Draw
    tell: Tell
    language: str
    board: Board
    memory: Memory = field(default_factory=Memory)
    _seen: tuple[object, ...] | None = None
    _at_work: dict[Path, float] = field(default_factory=dict)  # study folder -> when somebody was last seen there
    _told: str = ""
    states: tuple[RunState, ...] = ()

    def look(self) -> bool:
        """Make the report where it is not the newest, and return whether it was made. What goes wrong is said on the page."""
        lately = self._lately()
        seen = self._fingerprint(lately)
        if seen == self._seen:
            return False
        begun = time.perf_counter()
        try:
            with self.memory.making():
                content = self.make(lately)
        except (
            Exception
        ) as error:  # a run that is not there yet, a file in the middle of writing: the next look may find it whole
            self._trouble(error)
            return False
        self._publish(content, seconds=time.perf_counter() - begun)
        self.tell(self.states, content)
        self._seen, self.states = seen, content.states
        if not lately:
            self.draw(content, lambda: self._fingerprint(self._lately()) == seen)
        gc.unfreeze()
        gc.collect()
        gc.freeze()  # what is remembered need not be looked through at the next making
        return True

    def _lately(self) -> frozenset[Path]:
        """Studies where somebody is at work, or was a moment ago."""
        now = time.monotonic()
        for study in self._folders():
            if at_work_in(study):
                self._at_work[study] = now
        return frozenset(study for study, seen in self._at_work.items() if now - seen <= LATELY_S)

    def _folders(self) -> set[Path]:
        """The studies of what was passed, which may be a study, a variant or a run."""
        found = set()
        for path in self.studies:
            folder = path.resolve()
            depth = 2 if folder.name.startswith("seed-") else 1 if any(folder.glob("seed-*")) else 0
            found.add(folder if depth == 0 else folder.parents[depth - 1])
        return found

    def _fingerprint(self, lately: Collection[Path]) -> tuple[object, ...]:
        """Changes with every file that a report reads, and with who is at work."""
        stamps: list[tuple[Stamp, ...]] = [stamps_under(study, without=NOT_READ) for study in sorted(self._folders())]
        return stamps, sorted(lately), [at_work_in(study) for study in sorted(self._folders())]

    def _publish(self, content: Content, *, seconds: float) -> None:
        self._told = ""
        now = time.strftime("%H:%M:%S")
        version = hashlib.sha256(json.dumps([content.title, now, time.time()]).encode()).hexdigest()[:16]
        self.board.put(
            version=version,
            title=content.title,
            state=self._words(state_sentence(content.states)),
            made=self._words(say("Made at {time} in {seconds:.1f} s", time=now, seconds=seconds)),
            runs=self._rows(content.states),
            trouble="",
        )

    def _rows(self, states: Sequence[RunState]) -> list[list[str]]:
        """The head and a row for each run that has not finished, as texts; nothing where all have."""
        table = state_table(states)
        rows = [row for row, one in zip(table.rows, states, strict=False) if one.state != "finished"]
        shown = [[self._words(cell.text) for _, cell in cells(table, row=row)] for row in rows]
        return [[self._words(column.title) for column in table.columns], *shown] if shown else []

    def _trouble(self, error: Exception) -> None:
        """On the page, and once in the terminal; of a mistake that is ours the traceback, too."""
        text = f"{error}" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {error}"
        if text != self._told:
            print(f"The report cannot be made yet, and is tried again: {text}", flush=True)
            if not isinstance(error, (ValueError, OSError)):
                traceback.print_exception(error)
            self._told = text
        self.board.put(trouble=self._words(say_named("watch.trouble", reason=text)))

    def _words(self, phrase: str) -> str:
        return in_language(phrase, catalogue=catalogue_of(self.language))


def state_sentence(states: Sequence[RunState]) -> Phrase:
    """`running (2), waiting (1), finished (3)`, those that are at work first."""
    counts, called = Counter(one.state for one in states), names("states")
    found = [say("{state} ({count})", state=called[state], count=counts[state]) for state in ORDER if counts[state]]
    return listed(found) if found else say("Nothing was trained here.")


def watch(watcher: Watcher, *, folder: Path, seconds: float, port: int) -> NoReturn:
    """Serve and look, until the process is ended."""
    server = serve(watcher.board, folder=folder, port=port, language=watcher.language)
    print(f"Watching: http://127.0.0.1:{server.server_address[1]}/ (looks every {seconds:g} s; Ctrl-C ends it)", flush=True)
    while True:
        begun = time.monotonic()
        if watcher.look():
            print(f"report: {folder / REPORT}, {watcher.board.read()['made']}: {watcher.board.read()['state']}", flush=True)
        time.sleep(max(0.5, seconds - (time.monotonic() - begun)))


def new_board(*, language: str) -> Board:
    """What the frame says before there is a report."""
    catalogue = catalogue_of(language)
    gone = in_language(say_named("watch.gone"), catalogue=catalogue)
    first = in_language(say_named("watch.first"), catalogue=catalogue)
    return Board(
        {"version": "", "title": "vlm-rl", "state": first, "made": "", "trouble": "", "runs": [], "words": {"gone": gone}}
    )
