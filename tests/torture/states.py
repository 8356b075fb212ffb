"""Every state that a kill or a power loss leaves, at every file operation of a run, is continued by the same command.

python tests/torture/states.py --algorithm reinforce_pp [--sample N] [--jobs 2] [--kind gone]
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from disk import KINDS, Kind, Record, State, lost_checkpoints, not_synced, states
from short_runs import ALGORITHMS, Forking, Whole, differences, short, undisturbed
from side_by_side import forking_processes, side_by_side

MOST_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A state after the same command, and what is wrong with it."""

    state: State
    wrong: Sequence[str]


def recorded(forking: Forking, arguments: Sequence[str], *, folder: Path) -> Record:
    """Trains under the recorder."""
    (folder / "recorded").mkdir(exist_ok=True)
    command = ["train.py", *arguments]
    finished = forking.run("tests/torture/recording.py", [str(folder / "record"), *command], cwd=folder / "recorded")
    assert finished.code == 0, finished.out + finished.err
    return Record(folder / "record")


def distinct(every: Iterable[State]) -> list[State]:
    """The first of those that are the same."""
    first: dict[int, State] = {}
    for state in every:
        first.setdefault(state.fingerprint, state)
    return list(first.values())


def sampled(every: Sequence[State], *, size: int | None) -> list[State]:
    """As many of each kind, spread evenly over the run; all of them without a size."""
    if size is None:
        return list(every)
    chosen: list[State] = []
    for kind in KINDS:
        of_kind = [state for state in every if state.kind == kind]
        num = min(len(of_kind), -(-size // len(KINDS)))
        chosen += [of_kind[round((place + 0.5) * len(of_kind) / num - 0.5)] for place in range(num)]
    return chosen


def resumed(forking: Forking, state: State, *, whole: Whole, cwd: Path) -> Resumed:
    """Makes a state and types the command again. The folder stays where something is wrong, with the state itself beside it."""
    cwd.mkdir()
    state.make(cwd)
    finished = forking.run("train.py", whole.arguments, cwd=cwd)
    wrong = differences(finished, cwd, whole)
    if not wrong:
        shutil.rmtree(cwd)
    else:
        (cwd / "state").mkdir()
        state.make(cwd / "state")
        (cwd / "said.txt").write_text(finished.out + finished.err, encoding="utf-8")
    return Resumed(state=state, wrong=wrong)


def show(result: Resumed, *, cwd: Path) -> None:
    """What is wrong with a state, and where it lies."""
    if result.wrong:
        place = f"{cwd} ({result.state.kind} at look {result.state.look}, {result.state.event})"
        print(f"  {place}: {'; '.join(result.wrong[:MOST_SHOWN])}", flush=True)


def main() -> int:
    """The command line; 1 where any state does not end as the undisturbed run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--algorithm", choices=[*ALGORITHMS], default="reinforce_pp")
    parser.add_argument("--sample", type=int, help="states in all, spread over kinds and looks; without it all of them")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only these")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="states-"))
    with forking_processes(asked.jobs) as servers:
        (folder / "whole").mkdir()
        whole = undisturbed(servers[0], short(asked.algorithm), cwd=folder / "whole")
        record = recorded(servers[0], whole.arguments, folder=folder)
        every = [state for state in distinct(states(record)) if state.kind in (asked.kind or KINDS)]
        chosen = sampled(every, size=asked.sample)
        print(f"{asked.algorithm}: {len(record.looks)} looks; distinct states: {count(every)}", flush=True)
        is_whole = all_resumed(chosen, whole=whole, folder=folder, servers=servers)
    lost = [*lost_checkpoints(record), *(f"{path} is not synced at the end" for path in not_synced(record))]
    print(f"  lost at a power loss: {len(lost)}", *lost[:MOST_SHOWN], sep="\n    ", flush=True)
    if is_whole and not lost:
        shutil.rmtree(folder)
    return int(not is_whole or bool(lost))


def all_resumed(chosen: Sequence[State], *, whole: Whole, folder: Path, servers: Sequence[Forking]) -> bool:
    """Whether all of them end as the undisturbed run; says which do not."""
    begun, failed = time.monotonic(), list[State]()

    def job(forking: Forking, number: int) -> Resumed:
        return resumed(forking, chosen[number], whole=whole, cwd=folder / f"state-{number:04d}")

    for number, result in enumerate(side_by_side(job, range(len(chosen)), servers=servers)):
        show(result, cwd=folder / f"state-{number:04d}")
        failed += [result.state] if result.wrong else []
    minutes = (time.monotonic() - begun) / 60
    print(f"  resumed: {count(chosen)} in {minutes:.1f} min; wrong: {count(failed)}", flush=True)
    return not failed


def count(every: Sequence[State]) -> str:
    """How many, and of which kind."""
    kinds: Counter[Kind] = Counter(state.kind for state in every)
    shown = ", ".join(f"{kind} {kinds[kind]}" for kind in KINDS if kinds[kind])
    return f"{len(every)} ({shown})" if every else "0"


if __name__ == "__main__":
    sys.exit(main())
