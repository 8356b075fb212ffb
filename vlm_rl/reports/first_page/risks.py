"""What could make a good verdict a bad decision: everything odd that the runs left on disk, in sentences. No thresholds are judged anew."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import k_of, title_of
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import Phrase, listed, say, say_named
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.files import number
from vlm_rl.reports.reading.results import Results
from vlm_rl.reports.tables.gain_tables import gain_difference, gain_over_seeds
from vlm_rl.reports.tables.run_tables import alert_title, silence
from vlm_rl.reports.tables.table import Table

MANY_CUT_OFF = 0.05  # share of responses at the length limit from which accuracy begins to speak of the limit
LANGUAGE_DRIFT = 0.01  # share of letters in other scripts, last fifth of training


def training_risks(records: Records, *, endpoint: Endpoint) -> list[Phrase]:
    """Arm by arm: alerts, runs left out, cut off responses, language drift. Rare collapse is part of each verdict."""
    risks = [sentence for arm in records.shown for sentence in _arm_risks(arm, endpoint=endpoint)]
    watched = [run for arm in records.trained for run in arm.runs]
    if any(fewer_solved(arm, endpoint=endpoint) is not None for arm in records.shown):
        risks.append(say("Fewer solved with several tries suggests that training sharpened the model more than it widened it."))
    return [*risks, *silence(watched)]


def _arm_risks(arm: Arm, *, endpoint: Endpoint) -> Iterator[Phrase]:
    yield from _alerts(arm)
    yield from _unfinished(arm)
    yield from _cut_off(arm, endpoint=endpoint)
    yield from _language(arm)
    if (found := fewer_solved(arm, endpoint=endpoint)) is not None:
        change = {"change": found.change.estimate, "low": found.change.low, "high": found.change.high}
        points = {name: 100 * share for name, share in change.items()}
        setting = title_of(found.setting)
        yield say_named("risks.fewer_solved", arm=arm.label, setting=setting, split=endpoint.split, **points)


def _alerts(arm: Arm) -> Iterator[Phrase]:
    kinds = Counter(str(alert.get("alert", "?")) for run in arm.runs for alert in run.alerts or ())
    alarmed = sum(bool(run.alerts) for run in arm.runs)
    named = [say("{kind} ({count} times)", kind=alert_title(kind), count=count) for kind, count in kinds.most_common()]
    if kinds:
        yield say_named("risks.alerts", arm=arm.label, alarmed=alarmed, runs=len(arm.runs), kinds=listed(named))


def _unfinished(arm: Arm) -> Iterator[Phrase]:
    seeds = ", ".join(str(run.run.seed) for run in arm.runs if not run.run.finished)
    if seeds and arm.left_out:
        yield say("{arm}: unfinished runs are left out of every mean and verdict: seed {seeds}.", arm=arm.label, seeds=seeds)
    elif seeds:
        yield say("{arm}: no run is finished yet (seed {seeds}); what is said here may change.", arm=arm.label, seeds=seeds)


def _cut_off(arm: Arm, *, endpoint: Endpoint) -> Iterator[Phrase]:
    results = Results(arm=arm, split=endpoint.split, setting=endpoint.setting, endpoint=endpoint)
    before, after = (_share_cut_off(list(side.values())) for side in (results.untrained, results.picked))
    if after > MANY_CUT_OFF:
        yield say_named(
            "risks.cut_off",
            arm=arm.label,
            after=100 * after,
            split=endpoint.split,
            before=say("not known") if math.isnan(before) else say("{share:.0f} %", share=100 * before),
        )


def _share_cut_off(evaluations: Sequence[Evaluation]) -> float:
    responses = sum(int(evaluation.num_samples.sum()) for evaluation in evaluations)
    return sum(evaluation.num_truncated for evaluation in evaluations) / responses if responses else math.nan


def _language(arm: Arm) -> Iterator[Phrase]:
    ends = [_ends(run, key="language/foreign_share") for run in arm.used]
    known = [(first, last) for first, last in ends if not math.isnan(first + last)]
    first, last = (float(np.mean(side)) for side in zip(*known, strict=True)) if known else (math.nan, math.nan)
    if last > LANGUAGE_DRIFT and last > first:
        yield say_named("risks.language_drift", arm=arm.label, first=100 * first, last=100 * last)


@dataclass(frozen=True, kw_only=True)
class FewerSolved:
    """With most tries, fewer questions are solved than before training."""

    setting: str
    change: Interval  # a share, below 0 at both ends


def fewer_solved(arm: Arm, *, endpoint: Endpoint) -> FewerSolved | None:
    """None where the 95 % interval for new seeds and new questions does not lie below 0."""
    tried = {setting for _, split, setting in arm.used[0].evaluations if split == endpoint.split}
    setting = max(tried, key=k_of, default=endpoint.setting)
    results = Results(arm=arm, split=endpoint.split, setting=setting, endpoint=endpoint)
    pairs = results.gained(results.picked)
    if not pairs or k_of(setting) == 1:
        return None
    difference = gain_difference(pairs)  # None: other questions for each seed, so that the spread of seeds holds both chances
    change = gain_over_seeds(pairs) if difference is None else difference.new_questions()
    return FewerSolved(setting=setting, change=change) if change.high < 0 else None


def _ends(run: RunRecords, *, key: str) -> tuple[float, float]:
    """Mean of a quantity over the first and the last fifth of the steps."""
    values = np.array([value for record in run.training if not math.isnan(value := number(record, key=key))])
    if not values.size:
        return math.nan, math.nan
    fifth = max(1, values.size // 5)
    return float(values[:fifth].mean()), float(values[-fifth:].mean())


VISION = "vision"  # rows whose numbers are only in the figure
MOST_ABOVE_CHANCE = 0.1  # share: blind accuracy further above chance means that the figure is not needed


def control_risks(controls: Table, *, split: str) -> Iterator[Phrase]:
    """For each model of the table of blind controls."""
    rows = [row for row in controls.rows if row["split"] == split]
    without = list(dict.fromkeys(row["model"] for row in rows if row.get("to_do")))
    if without:
        yield say_named(
            "risks.no_controls", models=listed(model if isinstance(model, str) else str(model) for model in without)
        )
    for row in rows:
        levels = [row.get(key) for key in ("blank", "shuffled")]
        blind = [level.estimate for level in levels if isinstance(level, Interval) and level.num_seeds]
        chance = row.get("chance")
        if row["modality"] != VISION or not blind or not isinstance(chance, float):
            continue
        if max(blind) > chance + MOST_ABOVE_CHANCE:
            yield say_named("risks.figures_not_needed", model=row["model"], blind=100 * max(blind), chance=100 * chance)
