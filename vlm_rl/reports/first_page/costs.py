"""What the runs took, as measured, and what a point of accuracy took of it. A gain is not extrapolated."""

import math
from collections.abc import Iterator, Mapping, Sequence

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.first_page.next_stage import RunCost, amount
from vlm_rl.reports.phrase import Phrase, paragraph, say, told
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables.cost_tables import device_hours, points_per_device_hour
from vlm_rl.reports.verdicts.arm_verdict import ArmVerdict

LARGEST_RATIO = 1.5  # slowest to fastest run of an arm; beyond it the machine, not the arm, was measured


def run_cost(arm: Arm, *, settings: ReportSettings) -> RunCost:
    """The mean over the runs that were measured."""
    hours = _hours(arm)
    return RunCost(
        device_hours=math.fsum(hours) / len(hours) if hours else math.nan,
        price=settings.price_per_device_hour,
        currency=settings.currency,
    )


def _hours(arm: Arm) -> list[float]:
    return [value for run in arm.used if not math.isnan(value := device_hours(run))]


def cost_sentences(
    records: Records, *, verdicts: Sequence[ArmVerdict], costs: Mapping[str, RunCost], endpoint: Endpoint
) -> Iterator[Phrase]:
    """For each arm what a run takes and what a point took; then what the figures leave out."""
    improved = {verdict.arm for verdict in verdicts if verdict.outcome is Outcome.IMPROVEMENT}
    for arm in records.trained:
        points = points_per_device_hour(arm, endpoint=endpoint).estimate if arm.label in improved else math.nan
        yield paragraph(_of_runs(arm, cost=costs[arm.label]), _of_a_point(points))
    if any(cost.is_known for cost in costs.values()):
        yield paragraph(
            say("Runs that differ so much shared a machine or its load: do not compare arms by their time.")
            if any(_is_uneven(arm) for arm in records.trained)
            else "",
            say("Without the search for learning rates, the evaluation of the untrained model and the controls."),
        )
    if not records.trained:
        yield say("Nothing was trained here.")


def _of_runs(arm: Arm, *, cost: RunCost) -> Phrase:
    if not cost.is_known:
        return say("{arm}: the time of its runs, or the number of their devices, is not known.", arm=arm.label)
    values = {"arm": arm.label, "one": cost.of_runs(1), "all": cost.of_runs(len(arm.used)), "runs": len(arm.used)}
    if not _is_uneven(arm):
        return say("{arm}: {one} a run, {all} for all {runs} runs.", **values)
    low, high = (amount(60 * end) for end in (min(_hours(arm)), max(_hours(arm))))
    return say("{arm}: {one} a run ({low} to {high} minutes), {all} for all {runs} runs.", low=low, high=high, **values)


def _of_a_point(points_per_hour: float) -> str:
    if not points_per_hour > 0:
        return ""
    return told("cost.of_a_point", minutes=amount(60 / points_per_hour))


def _is_uneven(arm: Arm) -> bool:
    hours = _hours(arm)
    return bool(hours) and max(hours) > LARGEST_RATIO * min(hours)
