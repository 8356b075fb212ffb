"""How often a study was judged before, with which seeds: each look at more of them is another chance of a false claim.

A study keeps its looks in `looks.jsonl`, one line for each arm and each set of seeds that a report judged. Making the same report
again adds none.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vlm_rl.evaluation.looks import error_of_looks
from vlm_rl.evaluation.verdict import FEWEST_SEEDS
from vlm_rl.reports.phrase import Phrase, say_named
from vlm_rl.reports.reading.doubts import Doubt
from vlm_rl.reports.reading.files import read_json_lines
from vlm_rl.reports.verdicts.comparisons import Comparison

FILE = "looks.jsonl"

Key = tuple[str, str | None]  # hash of the arm, and of the trained arm that it was compared with
Seeds = frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The sets of seeds that were judged, in order."""

    seeds: dict[Key, tuple[Seeds, ...]]

    def seeds_of(self, comparison: Comparison) -> tuple[int, ...]:
        """How many seeds had been seen at each look at a comparison, this one last; () where nothing is judged: two seeds are no look."""
        if comparison.difference is None or comparison.difference.num_seeds < FEWEST_SEEDS:
            return ()
        return seen(self._all(comparison))

    def _all(self, comparison: Comparison) -> list[Seeds]:
        now, earlier = Seeds(comparison.scores.evaluations), self.seeds.get(key_of(comparison), ())
        return list(dict.fromkeys((*(seeds for seeds in earlier if seeds != now), now)))

    def doubts(self, comparison: Comparison) -> Iterator[Doubt]:
        """That this is one look more than was planned, and what it costs."""
        numbers, planned = self.seeds_of(comparison), comparison.choice.endpoint.planned_looks
        if len(numbers) > planned:
            yield Doubt(kind="unplanned_look", said=cost_of(numbers, planned=planned))


NO_LOOKS = Looks(seeds={})


def cost_of(numbers: Sequence[int], *, planned: int) -> Phrase:
    """How often such looks claim something where there is nothing, as a sentence; `numbers`: seeds that had been seen at each."""
    error = 100 * error_of_looks(numbers)
    return say_named("looks.unplanned", number=len(numbers), planned=planned, seeds=", ".join(map(str, numbers)), error=error)


def seen(sets: Iterable[Seeds]) -> tuple[int, ...]:
    """How many different seeds had been seen at each look."""
    together, numbers = Seeds(), []
    for seeds in sets:
        together |= seeds
        numbers.append(len(together))
    return tuple(numbers)


def key_of(comparison: Comparison) -> Key:
    """What is looked at."""
    reference = comparison.reference
    return comparison.arm.runs[0].run.arm, None if reference is None else reference.runs[0].run.arm


def read_looks(studies: Iterable[Path], *, problems: list[str]) -> Looks:
    """The looks that study folders keep; a line that is none goes to the problems."""
    found: dict[Key, list[Seeds]] = {}
    for study in studies:
        for line in read_json_lines(study / FILE, problems=problems):
            key, seeds = (line.get("arm"), line.get("reference")), line.get("seeds")
            if not isinstance(seeds, list) or not all(isinstance(part, str | None) for part in key):
                problems.append(say_named("looks.unreadable", path=study / FILE))
                continue
            found.setdefault((str(key[0]), key[1]), []).append(Seeds(seed for seed in seeds if isinstance(seed, int)))
    return Looks(seeds={key: tuple(dict.fromkeys(sets)) for key, sets in found.items()})


def keep_looks(comparisons: Iterable[Comparison], *, looks: Looks) -> None:
    """Add what was judged now, and not before, to the study folder of each arm. Raise OSError where that cannot be written."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    for comparison in comparisons:
        key, now = key_of(comparison), sorted(comparison.scores.evaluations)
        if Seeds(now) in looks.seeds.get(key, ()):
            continue
        line: dict[str, Any] = {"time": time, "arm": key[0], "reference": key[1], "label": comparison.arm.label, "seeds": now}
        _append(comparison.arm.runs[0].run.study_folder / FILE, text=json.dumps(line) + "\n")


def _append(file: Path, *, text: str) -> None:
    """Add to a file, never to what a link or a pipe leads to: whoever gave this study may not say what else is written."""
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    with open(opened, "a", encoding="utf-8") as lines:
        lines.write(text)
