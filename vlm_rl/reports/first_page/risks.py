"""What could make a good verdict a bad decision: everything odd that the runs left on disk, in sentences. No thresholds are judged anew."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import k_of, title_of
from vlm_rl.reports.phrase import Phrase, listed, say
from vlm_rl.reports.reading.arms import UNTRAINED_EPOCH, Arm, Records, RunRecords
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.reading.json_lines import number
from vlm_rl.reports.tables.alert_tables import alert_title
from vlm_rl.reports.tables.gain_tables import gain_at_pick
from vlm_rl.reports.verdicts.picks import at_pick

MANY_CUT_OFF = 0.05  # share of responses at the length limit from which accuracy begins to speak of the limit
LANGUAGE_DRIFT = 0.01  # share of letters in other scripts, last fifth of training


def training_risks(records: Records, *, endpoint: Endpoint) -> list[Phrase]:
    """Arm by arm: alerts, runs left out, cut off responses, language drift. Rare collapse is part of each verdict."""
    risks = [sentence for arm in records.shown for sentence in _arm_risks(arm, endpoint=endpoint)]
    watched = [run for arm in records.trained for run in arm.runs]
    if watched and not any(run.alerts for run in watched):
        risks.append(say("No run raised an alert."))
    return risks


def _arm_risks(arm: Arm, *, endpoint: Endpoint) -> Iterator[Phrase]:
    yield from _alerts(arm)
    yield from _unfinished(arm)
    yield from _cut_off(arm, endpoint=endpoint)
    yield from _language(arm)
    yield from _fewer_solved(arm, endpoint=endpoint)


def _alerts(arm: Arm) -> Iterator[Phrase]:
    kinds = Counter(str(alert.get("alert", "?")) for run in arm.runs for alert in run.alerts)
    alarmed = sum(bool(run.alerts) for run in arm.runs)
    if kinds:
        yield say(
            "{arm}: alerts in {alarmed} of {runs} runs: {kinds}.",
            arm=arm.label,
            alarmed=alarmed,
            runs=len(arm.runs),
            kinds=listed(
                say("{kind} ({count} times)", kind=alert_title(kind), count=count) for kind, count in kinds.most_common()
            ),
        )


def _unfinished(arm: Arm) -> Iterator[Phrase]:
    seeds = ", ".join(str(run.run.seed) for run in arm.runs if not run.run.finished)
    if not seeds:
        return
    if arm.left_out:
        yield say("{arm}: unfinished runs are left out of every mean and verdict: seed {seeds}.", arm=arm.label, seeds=seeds)
    else:
        yield say("{arm}: no run is finished yet (seed {seeds}); what is said here may change.", arm=arm.label, seeds=seeds)


def _cut_off(arm: Arm, *, endpoint: Endpoint) -> Iterator[Phrase]:
    picked = [at_pick(run, endpoint=endpoint, split=endpoint.split, setting=endpoint.setting) for run in arm.used]
    after = _share_cut_off([evaluation for evaluation in picked if evaluation is not None])
    before = _share_cut_off(arm.evaluated(epoch=UNTRAINED_EPOCH, split=endpoint.split, setting=endpoint.setting))
    if after > MANY_CUT_OFF:
        yield say(
            "{arm}: {after:.0f} % of the responses on {split} were cut off at the length limit (Vanilla: {before}).",
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
    if not known:
        return
    first, last = (float(np.mean(side)) for side in zip(*known, strict=True))
    if last > LANGUAGE_DRIFT and last > first:
        yield say(
            "{arm}: language drift: letters of other scripts went from {first:.1f} % to {last:.1f} % of what it wrote in training.",
            arm=arm.label,
            first=100 * first,
            last=100 * last,
        )


def _fewer_solved(arm: Arm, *, endpoint: Endpoint) -> Iterator[Phrase]:
    """Training may make a model surer of what it could do and cost it what it could find with several tries."""
    tried = {setting for _, split, setting in arm.used[0].evaluations if split == endpoint.split}
    setting = max(tried, key=k_of, default=endpoint.setting)
    gain = gain_at_pick(arm, endpoint=endpoint, split=endpoint.split, setting=setting)
    change = None if gain is None or k_of(setting) == 1 else gain.over_seeds()
    if change is not None and change.high < 0:
        yield say(
            "{arm}: with several tries fewer questions are solved: {setting} on {split} changed by {change:+.1f} points "
            "({low:+.1f} to {high:+.1f}, 95 % over {seeds} seeds). Training sharpened the model more than it widened it.",
            arm=arm.label,
            setting=title_of(setting),
            split=endpoint.split,
            change=100 * change.estimate,
            low=100 * change.low,
            high=100 * change.high,
            seeds=change.num_seeds,
        )


def _ends(run: RunRecords, *, key: str) -> tuple[float, float]:
    """Mean of a quantity over the first and the last fifth of the steps."""
    values = np.array([value for record in run.training if not math.isnan(value := number(record, key=key))])
    if not values.size:
        return math.nan, math.nan
    fifth = max(1, values.size // 5)
    return float(values[:fifth].mean()), float(values[-fifth:].mean())
