"""What training looked like: what was logged, and from stored responses whatever the log lacks.

A number that was logged is shown as it was logged. What is counted in texts and verdicts is used for steps and quantities that were
not logged, for another list of reflection words and for another judge. A teacher's texts are no responses of the policy.
"""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rl.evaluation.dynamics import LengthBins, bin_by_length, no_length_bins
from vlm_rl.evaluation.reflection import PAPER_REFLECTION_WORDS, ReflectionRule, Substrings, WholeWords
from vlm_rl.evaluation.response_metrics import count_responses, training_metrics
from vlm_rl.reports.memory import recall, stamp_of
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.files import SCORES, Record, UnreadableRows, number, over_files
from vlm_rl.reports.reading.rejudge import Rejudge, VerdictChanges, all_changes, read_judged
from vlm_rl.reports.reading.roles import Role

COLUMNS = ("epoch", "response", "verdict", "accuracy", "finish_reason", "response_length", SCORES)
AHA_KEPT = 5  # of a run; a report shows fewer
WHOLE_WORDS = f"{WholeWords.__module__}.{WholeWords.__qualname__}"
RULES: dict[str, type[WholeWords] | type[Substrings]] = {  # a report imports no other
    WHOLE_WORDS: WholeWords,
    f"{Substrings.__module__}.{Substrings.__qualname__}": Substrings,
}
UNKNOWN_RULE = WholeWords(words=())  # for a run with a rule of its own: marks nothing, and its ratios are missing


Place = tuple[int, int]  # of a training completion: its generation step, and its row in the file of that step


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

    records: tuple[Record, ...]  # one for each: what metrics.jsonl has, and what it lacks from stored texts
    rule: ReflectionRule = field(default_factory=WholeWords)  # what its words were counted by
    length_bins: LengthBins | None = None  # all steps together; None without stored responses of its own or by an unknown rule
    aha: tuple[Place, ...] = ()  # first right responses with a reflection word
    stored_steps: tuple[int, ...] = ()  # those whose completions could be read
    judged_again: VerdictChanges | None = None  # all stored steps together
    problems: tuple[str, ...] = ()
    _columns: dict[str, NDArray[np.float64]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Of all quantities that any step has, in the order in which they came up."""
        return tuple(dict.fromkeys(key for line in self.records for key in line))

    def column(self, key: str) -> NDArray[np.float64]:
        """A quantity at each generation step, NaN where it has none."""
        if key not in self._columns:
            self._columns[key] = np.array([number(line, key=key) for line in self.records])
        return self._columns[key]


def step_file(run_folder: Path, *, step: int) -> Path:
    """`completions/step-000123.parquet`."""
    return run_folder / "completions" / f"step-{step:06d}.parquet"


def declared_rule(config: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The class and the words that a run declares at `evaluation.reflection`; `WholeWords` and the paper's words where it declares none."""
    declared = config.get("evaluation", {}).get("reflection", {})
    words = declared.get("words")
    return str(declared.get("_target_", WHOLE_WORDS)), PAPER_REFLECTION_WORDS if words is None else tuple(map(str, words))


def rule_of(config: Mapping[str, Any]) -> ReflectionRule | None:
    """The rule that a run declares, None for one of its user's own."""
    target, words = declared_rule(config)
    return RULES[target](words=words) if target in RULES else None


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
    problems = []
    if known is None and logged:
        problems.append(say_named("gaps.unknown_rule", folder=run_folder, rule=declared_rule(config)[0]))
    if role == "teacher":  # what is stored are its texts, not responses
        return Training(records=tuple(logged.values()), rule=rule, problems=tuple(problems))
    named = ((file.stem.removeprefix("step-"), file) for file in sorted((run_folder / "completions").glob("step-*.parquet")))
    files = {int(step): file for step, file in named if step.isdecimal()}
    found = over_files(partial(_counted, rule=rule, rejudge=rejudge), files.values())
    counted = {step: counts for step, counts in zip(files, found, strict=True) if isinstance(counts, StepCounts)}
    problems += [say("{problem} Its step is taken as it was logged.", problem=text) for text in found if isinstance(text, str)]
    problems += _one_sided(logged.keys(), counted=counted.keys(), folder=run_folder)
    if reflection is not None:  # what was counted by one list of words is never shown beside counts by another
        logged = {step: {key: line[key] for key in line if not key.startswith("reflection/")} for step, line in logged.items()}
    return Training(
        records=tuple(_completed(logged, counted=counted)),
        rule=rule,
        length_bins=sum((step.length_bins for step in counted.values()), start=no_length_bins()) if counted and known else None,
        aha=tuple((step, row) for step, counts in counted.items() for row in counts.aha)[:AHA_KEPT],
        stored_steps=tuple(counted),
        judged_again=all_changes(counts.judged_again for counts in counted.values()),
        problems=tuple(problems),
    )


def _one_sided(logged: Set[int], *, counted: Set[int], folder: Path) -> Iterator[Phrase]:
    """Steps of which the log or the texts are missing; only the newest may be without its line, as it is written now."""
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


def _counted(path: Path, *, rule: ReflectionRule, rejudge: Rejudge | None) -> StepCounts | str:
    """The counts of one file, or what is wrong with it."""
    return recall("training", stamp_of(path), rule, rejudge, make=lambda: _count(path, rule=rule, rejudge=rejudge))


def _count(path: Path, *, rule: ReflectionRule, rejudge: Rejudge | None) -> StepCounts | str:
    try:
        samples, changed = read_judged(path, columns=COLUMNS, rejudge=rejudge)
    except UnreadableRows as error:
        return error.reason
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
