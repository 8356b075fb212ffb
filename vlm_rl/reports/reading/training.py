"""What training looked like: what was logged, and from stored responses whatever the log lacks.

A number that was logged is shown as it was logged. What is counted in texts and verdicts fills in: steps without a line, quantities
that an older run did not log, another list of reflection words, another judge. A teacher's texts are no responses of the policy.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rl.evaluation.dynamics import LengthBins, bin_by_length, no_length_bins
from vlm_rl.evaluation.reflection import (
    PAPER_REFLECTION_WORDS,
    ReflectionRule,
    Substrings,
    WholeWords,
)
from vlm_rl.evaluation.response_metrics import count_responses, training_metrics
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.files import SCORES, Record, UnreadableRows, number, over_files, read_rows
from vlm_rl.reports.reading.rejudge import Rejudge, VerdictChanges, all_changes, judged
from vlm_rl.reports.reading.roles import Role

COLUMNS = ("epoch", "response", "verdict", "accuracy", "finish_reason", "response_length", SCORES)
AHA_KEPT = 5  # of a run; a report shows fewer
WHOLE_WORDS = f"{WholeWords.__module__}.{WholeWords.__qualname__}"
RULES: dict[str, type[WholeWords] | type[Substrings]] = {  # a report imports no other
    WHOLE_WORDS: WholeWords,
    f"{Substrings.__module__}.{Substrings.__qualname__}": Substrings,
}
UNKNOWN_RULE = WholeWords(words=())  # for a run with a rule of its own: marks nothing, and its ratios are missing


@dataclass(frozen=True, kw_only=True)
class CompletionPlace:
    """Where a training completion lies: the row of the file of a generation step."""

    generation_steps: int
    row: int


@dataclass(frozen=True, kw_only=True)
class StepCounts:
    """What the stored responses of one generation step say."""

    epoch: float
    num_responses: int
    num_correct: int
    metrics: Mapping[str, float]  # under the names of metrics.jsonl
    length_bins: LengthBins
    aha: tuple[int, ...]  # first rows that are right and reflect
    judged_again: VerdictChanges | None


@dataclass(frozen=True, kw_only=True)
class Training:
    """All generation steps of a run."""

    records: tuple[Record, ...]
    rule: ReflectionRule  # what its words were counted by
    length_bins: LengthBins | None = None  # all steps together; None without stored responses of its own or by an unknown rule
    aha: tuple[CompletionPlace, ...] = ()
    stored_steps: tuple[int, ...] = ()
    judged_again: VerdictChanges | None = None  # all stored steps together
    problems: tuple[str, ...] = ()


def step_file(run_folder: Path, *, step: int) -> Path:
    """`completions/step-000123.parquet`."""
    return run_folder / "completions" / f"step-{step:06d}.parquet"


def step_of(file: Path) -> int:
    """The generation step whose completions a file holds."""
    return int(file.stem.removeprefix("step-"))


def rule_of(config: Mapping[str, Any]) -> ReflectionRule | None:
    """The rule that a run declares at `evaluation.reflection`, None for one of its user's own; `WholeWords` where it declares none."""
    kind = RULES.get(_target_of(config))
    return None if kind is None else kind(words=words_of(config))


def words_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The words that a run declares; the paper's where it names none."""
    words = _declared(config).get("words")
    return PAPER_REFLECTION_WORDS if words is None else tuple(map(str, words))


def _target_of(config: Mapping[str, Any]) -> str:
    return str(_declared(config).get("_target_", WHOLE_WORDS))


def _declared(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return (config.get("evaluation") or {}).get("reflection") or {}


def count_training(
    lines: Sequence[Record],
    *,
    run_folder: Path,
    role: Role,
    config: Mapping[str, Any],
    reflection: ReflectionRule | None,
    rejudge: Rejudge | None,
) -> Training:
    """The generation steps of a run: its "train" lines, filled up from its stored responses.

    `reflection` None counts by the rule that the run declares; any other replaces what was logged by that rule, and `rejudge`
    what was logged by the run's own judge.
    """
    known = rule_of(config) if reflection is None else reflection
    rule = known or UNKNOWN_RULE
    logged = {int(step): line for line in lines if math.isfinite(step := number(line, key="generation_steps"))}
    unknown = [_unknown_rule(config, folder=run_folder)] if known is None and logged else []
    if role == "teacher":  # what is stored are its texts, not responses
        return Training(records=tuple(logged.values()), rule=rule, problems=tuple(unknown))
    files = sorted((run_folder / "completions").glob("step-*.parquet"))
    found = over_files(partial(_counted, rule=rule, rejudge=rejudge), files)
    counted = {step_of(file): counts for file, counts in zip(files, found, strict=True) if isinstance(counts, StepCounts)}
    if reflection is not None:
        logged = {step: _without_reflection(line) for step, line in logged.items()}
    places = [CompletionPlace(generation_steps=step, row=row) for step, counts in counted.items() for row in counts.aha]
    unreadable = [say("{problem} Its step is taken as it was logged.", problem=text) for text in found if isinstance(text, str)]
    return Training(
        records=tuple(_completed(logged, counted=counted)),
        rule=rule,
        length_bins=sum((step.length_bins for step in counted.values()), start=no_length_bins()) if counted and known else None,
        aha=tuple(places[:AHA_KEPT]),
        stored_steps=tuple(counted),
        judged_again=all_changes(counts.judged_again for counts in counted.values()),
        problems=(*unknown, *unreadable, *_differences(set(logged), counted=set(counted), folder=run_folder)),
    )


def _unknown_rule(config: Mapping[str, Any], *, folder: Path) -> Phrase:
    return say_named("gaps.unknown_rule", folder=folder, rule=_target_of(config))


def _differences(logged: set[int], *, counted: set[int], folder: Path) -> Iterator[Phrase]:
    """Steps of which one of the two sources is missing; only the newest may be between them, as it is written now."""
    if counted and (missing := logged - counted):
        yield say_named("gaps.no_completions", folder=folder, missing=len(missing), steps=len(logged))
    if missing := counted - logged - {max(counted, default=0)}:
        yield say_named("gaps.no_metrics", folder=folder, missing=len(missing))


def _completed(logged: Mapping[int, Record], *, counted: Mapping[int, StepCounts]) -> Iterator[Record]:
    """Steps in order, what was logged filled up with what was counted; an epoch's accuracy is counted while all its steps are."""
    epoch, right, answered, is_whole = math.nan, 0, 0, True
    for step in sorted({*logged, *counted}):
        counts = counted.get(step)
        axes = {} if counts is None else {"event": "train", "generation_steps": step, "epoch": counts.epoch}
        line = axes | logged.get(step, {})
        now = np.ceil(number(line, key="epoch") - 1e-6)
        if now != epoch:
            epoch, right, answered, is_whole = now, 0, 0, True
        if counts is None:
            is_whole = False
            yield line
            continue
        right, answered = right + counts.num_correct, answered + counts.num_responses
        found = dict(counts.metrics) | ({"train/accuracy_in_epoch": right / answered} if is_whole else {})
        yield (found | line) if counts.judged_again is None else (line | found)


def _without_reflection(line: Record) -> Record:
    """What was counted by one list of words is never shown beside counts by another."""
    return {key: value for key, value in line.items() if not key.startswith("reflection/")}


def _counted(path: Path, *, rule: ReflectionRule, rejudge: Rejudge | None) -> StepCounts | str:
    """The counts of one file, or what is wrong with it."""
    try:
        samples = read_rows(path, columns=(*COLUMNS, *(("answer",) if rejudge else ())))
    except UnreadableRows as error:
        return error.reason
    if not samples.num_rows:
        return say("{path} has no rows.", path=path)
    samples, changed = judged(samples, rejudge=rejudge)
    counts = count_responses(samples, rule=rule)
    return StepCounts(
        epoch=samples["epoch"][0].as_py() or math.nan,
        num_responses=counts.correct.size,
        num_correct=int(counts.correct.sum()),
        metrics=training_metrics(samples, counts=counts),
        length_bins=bin_by_length(counts.lengths, reflective=counts.reflective, correct=counts.correct),
        aha=tuple(np.flatnonzero(counts.reflective & counts.correct)[:AHA_KEPT].tolist()),
        judged_again=changed,
    )
