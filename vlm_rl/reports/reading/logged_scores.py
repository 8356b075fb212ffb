"""The evaluation files of a run against what `metrics.jsonl` logged when they were written, and against themselves."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from vlm_rl.evaluation.settings import SETTING_NAME, metric_name
from vlm_rl.reports.phrase import Phrase, say_named
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.files import Record, number

TOLERANCE = 1e-6  # of a share: sums in another order differ from the 16th decimal on
LOGGED = re.compile(rf"(?P<split>.+)/(?P<setting>{SETTING_NAME.pattern})/accuracy")
NAMED = 3  # evaluations in a sentence

Cell = tuple[int, str, str]  # (epoch, split, setting)
Evaluations = Mapping[Cell, Evaluation]


def logged_accuracies(lines: Sequence[Record]) -> dict[Cell, float]:
    """What metrics.jsonl has of each evaluation, NaN where it has a null; the last line of an epoch counts."""
    found: dict[Cell, float] = {}
    for line in lines:
        epoch = number(line, key="epoch")
        if line.get("event") == "evaluation" and 0 <= epoch < 2**31:
            named = {key: match for key in line if (match := LOGGED.fullmatch(key))}
            found |= {(round(epoch), match["split"], match["setting"]): number(line, key=key) for key, match in named.items()}
    return found


def against_log(name: str, *, lines: Sequence[Record], evaluations: Evaluations, is_finished: bool) -> Iterator[Phrase]:
    """Where log and files of a run disagree; `evaluations` with those of its vanilla model. Nothing where none was logged."""
    logged = logged_accuracies(lines)
    found = {cell: one.stored.accuracy for cell, one in evaluations.items() if one.stored is not None}
    if differing := [cell for cell in sorted(logged.keys() & found.keys()) if abs(logged[cell] - found[cell]) > TOLERANCE]:
        first = differing[0]
        values = {"logged": 100 * logged[first], "found": 100 * found[first]}
        yield say_named("doubts.log_differs", run=name, count=len(differing), first=_words(first), **values)
    if missing := sorted(logged.keys() - evaluations.keys()):
        yield say_named("doubts.no_file", run=name, count=len(missing), names=named(missing))
    if logged and is_finished and (unlogged := sorted(evaluations.keys() - logged.keys())):
        yield say_named("doubts.not_logged", run=name, count=len(unlogged), names=named(unlogged))


def against_itself(name: str, *, evaluations: Iterable[Evaluation]) -> Iterator[Phrase]:
    """Files whose rows contradict themselves, or are those of another file."""
    for one in evaluations:
        if one.stored is None:
            continue
        if one.stored.num_contradictions:
            yield say_named("doubts.contradictions", path=one.path, run=name, count=one.stored.num_contradictions)
        if not one.stored.is_in_place:
            yield say_named("doubts.out_of_place", path=one.path, run=name)


def step_of_epoch(lines: Sequence[Record], *, epoch: int) -> int | None:
    """The generation step at which an epoch was evaluated, as it was logged."""
    steps = (line.get("generation_steps") for line in lines if line.get("event") == "evaluation" and line.get("epoch") == epoch)
    return next((step for step in steps if isinstance(step, int)), None)


def named(cells: Sequence[Cell]) -> str:
    """`epoch 1 val pass@1_t0.6, epoch 2 test pass@1_t0.6, ...`."""
    return ", ".join(map(_words, islice(cells, NAMED))) + ", ..." * (len(cells) > NAMED)


def _words(cell: Cell) -> str:
    epoch, split, setting = cell
    return f"epoch {epoch} {metric_name(split, setting=setting).removesuffix('/accuracy')}"
