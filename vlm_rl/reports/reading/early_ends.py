"""Runs that ended early, by the bottleneck of their config. A manifest is not taken at its word: the log is held against the rule."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.bottleneck_rule import BottleneckRule
from vlm_rl.reports.phrase import Phrase, say_named
from vlm_rl.reports.reading.files import Record, count_of, number
from vlm_rl.reports.reading.runs import Run

RULE = f"{BottleneckRule.__module__}.{BottleneckRule.__qualname__}"


@dataclass(frozen=True, kw_only=True)
class EarlyEnd:
    """Where a run ended, and what it did not need."""

    epoch: int
    of_epochs: int
    saved_steps: int  # generation steps
    saved_hours: float  # at the mean pace of the steps that it made; NaN where that is not known


def epochs_of(run: Run) -> int | None:
    """The epochs that a run was to make: those of its config, or fewer where it ended early; None where the config does not say."""
    end = early_end(run)
    return count_of(run.config.get("dataset", {}).get("epochs")) if end is None else end.epoch


def early_end(run: Run) -> EarlyEnd | None:
    """What the manifest of a finished run says of its early end; None where it ended otherwise, or where it may not end early."""
    told, planned = run.manifest.get("bottleneck"), count_of(run.config.get("dataset", {}).get("epochs"))
    if not run.finished or not isinstance(told, dict) or not run.config.get("bottleneck") or planned is None:
        return None
    epoch, saved = count_of(told.get("epoch")), count_of(told.get("saved_generation_steps"))
    if epoch is None or saved is None or not 0 < epoch < planned:
        return None
    hours = number(told, key="saved_seconds") / 3600
    return EarlyEnd(epoch=epoch, of_epochs=planned, saved_steps=saved, saved_hours=hours)


def seeds_by_epoch(runs: Sequence[Run]) -> str:
    """`1-4: 3, 5-6: 2` of three runs of which one ended early after epoch 4 and the others after 6; empty where all end alike."""
    ends = [end for run in runs if (end := epochs_of(run)) is not None]
    if len(set(ends)) < 2 or all(early_end(run) is None for run in runs):
        return ""
    lasts = sorted(set(ends))
    return ", ".join(
        f"{first + 1}-{last}: {sum(end >= last for end in ends)}" for first, last in zip([0, *lasts], lasts, strict=False)
    )


def against_rule(run: Run, *, lines: Sequence[Record]) -> Iterator[Phrase]:
    """An end of a finished run that is not the one that its own rule gives with the training accuracies of its log."""
    told, planned = early_end(run), count_of(run.config.get("dataset", {}).get("epochs"))
    rule, every = _rule_of(run), count_of(run.config.get("evaluation", {}).get("scheme", {}).get("every_epochs"))
    if rule is None or not every or planned is None or not run.finished:
        return
    accuracies = _by_epoch(lines)
    if any(map(math.isnan, accuracies)) or len(accuracies) < (planned if told is None else told.epoch):
        return  # what is missing in a log is told elsewhere
    found, ends = rule.end(accuracies[: planned - 1], every_epochs=every), planned if told is None else told.epoch
    if (found or planned) != ends:
        yield say_named("doubts.other_end", run=run.name, told=ends, found=found or planned)


def _rule_of(run: Run) -> BottleneckRule | None:
    """The rule that a config declares; None for one of a team's own, or without any."""
    declared = run.config.get("bottleneck")
    if not isinstance(declared, dict) or declared.get("_target_") != RULE:
        return None
    counts = {key: count for key in ("epochs", "first_epoch") if (count := count_of(declared.get(key))) is not None}
    try:
        return BottleneckRule(gain=number(declared, key="gain"), **counts) if len(counts) == 2 else None
    except ValueError:
        return None


def _by_epoch(lines: Sequence[Record]) -> list[float]:
    """The training accuracy of each epoch from the first one on, as it was logged at its last step; NaN where there is none."""
    found: dict[int, float] = {}
    for line in lines:
        epoch = number(line, key="epoch")
        if line.get("event") == "train" and 0 < epoch < 2**31 and abs(epoch - round(epoch)) < 1e-6:
            found[round(epoch)] = number(line, key="train/accuracy_in_epoch")
    last = min(max(found, default=0), len(found) + 1)  # one that jumps ahead is no list of so many epochs
    return [found.get(epoch, math.nan) for epoch in range(1, last + 1)]
