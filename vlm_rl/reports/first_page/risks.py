"""What could make a decision wrong although the verdict is good: claims that chance made large, and everything unusual that the runs
left on disk, in sentences.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.power import detectable_effect, exaggeration
from vlm_rl.evaluation.settings import k_of, title_of
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.first_page.arms_in_words import few_named
from vlm_rl.reports.phrase import Phrase, listed, say, say_named
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.reading.families import unverified
from vlm_rl.reports.reading.results import BySeed, Results
from vlm_rl.reports.tables.behaviour_tables import mean_fifths
from vlm_rl.reports.tables.gain_tables import gain_difference, gain_over_seeds
from vlm_rl.reports.tables.run_tables import alert_title, silence
from vlm_rl.reports.tables.table import Table
from vlm_rl.reports.verdicts.endpoint_scores import EndpointChoice
from vlm_rl.reports.verdicts.family import Judged

LEAST_EXAGGERATED = 1.05  # factor that is written as 1.1; a smaller one says nothing
MANY_CUT_OFF = 0.05  # share of responses at the length limit from which accuracy begins to speak of the limit
LANGUAGE_DRIFT = 0.01  # share of letters in other scripts, last fifth of training
VISION = "vision"  # rows whose numbers are only in the figure
NEAR = 1.25  # times the effect that is found in four studies of five: from there on a claim is hardly exaggerated
MOST_ABOVE_CHANCE = 0.1  # share: blind accuracy further above chance means that the figure is not needed


def risks_of(records: Records, *, verdicts: Sequence[Judged], choice: EndpointChoice, controls: Table) -> Iterator[Phrase]:
    """Risks of the design, of each arm, of missing controls and files. Each verdict itself speaks of rare collapse."""
    endpoint, sharpened = choice.endpoint, False
    if not choice.is_declared:
        yield say("The endpoint was not fixed before the runs: it may have been chosen because its result is good.")
    if any(verdict.comparison.has_late_reference for verdict in verdicts):
        yield say("The reference was chosen after the runs: it may have been chosen because it makes the other arms look good.")
    for verdict in verdicts:
        yield from exaggerated(verdict)
        yield from (say("{arm}: {flag}", arm=verdict.arm, flag=flag) for flag in verdict.comparison.flags)
    for arm in records.shown:
        yield from (*_alerts(arm), *_unfinished(arm), *_cut_off(arm, endpoint=endpoint), *_language(arm))
        if (fewer := fewer_solved(arm, endpoint=endpoint)) is not None:
            yield fewer
            sharpened = True
    if sharpened:
        yield say(
            "Fewer questions solved with several tries suggest that training made likely answers more likely, and taught few new ones."
        )
    yield from silence([run for arm in records.trained for run in arm.runs])
    yield from control_risks(controls, split=endpoint.split)
    yield from unverified(records.arms)
    if len(records.problems) == 1:
        yield say("One thing was missing or odd; it is listed under “What was missing or odd”.")
    elif records.problems:
        yield say_named("risks.many_problems", count=len(records.problems))


def exaggerated(verdict: Judged) -> Iterator[Phrase]:
    """By how much a claimed gain may overstate the true one, where it is not well above what this design finds.

    The true gain is taken for the smallest that matters and that the interval leaves open: for all larger ones it is less.
    """
    difference, level = verdict.difference, verdict.planning_level
    if verdict.outcome is not Outcome.IMPROVEMENT or difference is None:
        return
    if difference.estimate < NEAR * detectable_effect(difference, level=level).estimate:
        truth = max(verdict.smallest_effect, verdict.agreeing.low)
        factor = exaggeration(truth, difference=difference, level=level)
        if factor >= LEAST_EXAGGERATED:
            gain = 100 * difference.estimate
            yield say_named("risks.exaggerated", arm=verdict.arm, gain=gain, truth=100 * truth, factor=factor)


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
    before, after = map(_share_cut_off, (results.vanilla, results.selected))
    if after > MANY_CUT_OFF:
        known = say("not known") if math.isnan(before) else say("{share:.0f} %", share=100 * before)
        yield say_named("risks.cut_off", arm=arm.label, after=100 * after, split=endpoint.split, before=known)


def _share_cut_off(evaluations: BySeed) -> float:
    responses = sum(int(evaluation.num_samples.sum()) for evaluation in evaluations.values())
    return sum(evaluation.num_truncated for evaluation in evaluations.values()) / responses if responses else math.nan


def _language(arm: Arm) -> Iterator[Phrase]:
    """The means over the first and the last fifth of training, as the table of the policy has them."""
    fifths = mean_fifths(arm, "language/foreign_share")
    first, last = fifths["first"].estimate, fifths["last"].estimate
    if last > LANGUAGE_DRIFT and last > first:
        yield say_named("risks.language_drift", arm=arm.label, first=100 * first, last=100 * last)


def fewer_solved(arm: Arm, *, endpoint: Endpoint) -> Phrase | None:
    """With most tries, fewer questions are solved than before training: the 95 % interval for new seeds and new questions lies below 0."""
    tried = {setting for _, split, setting in arm.used[0].evaluations if split == endpoint.split}
    setting = max(tried, key=k_of, default=endpoint.setting)
    results = Results(arm=arm, split=endpoint.split, setting=setting, endpoint=endpoint)
    pairs = results.gained(results.selected)
    if not pairs or k_of(setting) == 1:
        return None
    difference = gain_difference(pairs)  # None: other questions for each seed, so that the spread of seeds holds both chances
    change = gain_over_seeds(pairs) if difference is None else difference.new_questions()
    if not change.high < 0:  # or there is no interval
        return None
    points = {"change": 100 * change.estimate, "low": 100 * change.low, "high": 100 * change.high}
    return say_named("risks.fewer_solved", arm=arm.label, setting=title_of(setting), split=endpoint.split, **points)


def control_risks(controls: Table, *, split: str) -> Iterator[Phrase]:
    """For each model of the table of blind controls."""
    rows = [row for row in controls.rows if row["split"] == split]
    without = dict.fromkeys(model for row in rows if row.get("to_do") and isinstance(model := row["model"], str))
    if without:
        models = few_named(list(without), counted=lambda count: say("{count} models", count=count))
        yield say_named("risks.no_controls", models=models)
    for row in rows:
        levels, chance = (row["blank"], row["shuffled"]), row["chance"]
        blind = max((level.estimate for level in levels if isinstance(level, Interval) and level.num_seeds), default=0.0)
        if row["modality"] == VISION and isinstance(chance, float) and blind > chance + MOST_ABOVE_CHANCE:
            yield say_named("risks.figures_not_needed", arm=row["model"], blind=100 * blind, chance=100 * chance)
