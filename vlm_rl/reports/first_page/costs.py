"""What the runs cost, as measured, in sentences; a machine that several runs shared is charged once (tables/charged_time.py)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.first_page.arms_in_words import MOST_NAMED, few
from vlm_rl.reports.phrase import Phrase, paragraph, say, say_named
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables.charged_time import charged_hours
from vlm_rl.reports.tables.cost_tables import points_per_device_hour, unknown_times
from vlm_rl.reports.verdicts.family import Judged

LARGEST_RATIO = 1.5  # slowest to fastest run of an arm; beyond it the machine, not the arm, was measured


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What one more run of an arm costs: the mean over the used runs whose time is known."""

    arm: Arm
    hours: tuple[float, ...]  # device hours of each
    points_per_hour: float  # NaN where it is not known

    @property
    def is_uneven(self) -> bool:
        """Whether the runs took such different times that their mean does not describe the arm."""
        return bool(self.hours) and max(self.hours) > LARGEST_RATIO * min(self.hours)

    def of_runs(self, num_runs: int) -> float:
        """Device hours; NaN where no time is known."""
        return num_runs * math.fsum(self.hours) / len(self.hours) if self.hours else math.nan


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The costs of all trained arms, by label, and how they are said."""

    arms: Mapping[str, RunCost]
    settings: ReportSettings

    def hours(self, num_runs: Mapping[str, int]) -> float:
        """Device hours of so many more runs of some arms; NaN where a time is not known."""
        return math.fsum(self.arms[label].of_runs(number) for label, number in num_runs.items())

    def said(self, hours: float) -> Phrase:
        """`1.20 device hours (3.00 USD)`, or minutes where it is less than one."""
        if math.isnan(hours):
            return say("an unknown time")
        price = self.settings.price_per_device_hour
        in_minutes = say("{minutes} device minutes", minutes=amount(60 * hours))
        time = in_minutes if hours < 1 else say("{hours} device hours", hours=amount(hours))
        if price is None:
            return time
        return say("{time} ({money} {currency})", time=time, money=amount(hours * price), currency=self.settings.currency)

    def of(self, num_runs: Mapping[str, int]) -> Phrase:
        """So many more runs of some arms, said."""
        return self.said(self.hours(num_runs))


def costs_of(records: Records, *, endpoint: Endpoint, settings: ReportSettings) -> Costs:
    """Of every trained arm."""
    hours = charged_hours(records)
    arms = {
        arm.label: RunCost(
            arm=arm,
            hours=tuple(one for run in arm.used if not math.isnan(one := hours[run.run.path])),
            points_per_hour=points_per_device_hour(arm, endpoint=endpoint, hours=hours),
        )
        for arm in records.trained
    }
    return Costs(arms=arms, settings=settings)


def amount(value: float) -> str:
    """Three digits: 0.0123, 1.23, 12.3, 1,230."""
    rounded = float(f"{value:.3g}")
    if rounded == 0 or not math.isfinite(rounded):
        return f"{rounded:.0f}"
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def cost_sentences(records: Records, *, verdicts: Sequence[Judged], costs: Costs) -> Iterator[Phrase]:
    """For each arm the cost of a run and of a point gained, or one line for many arms; then what these figures leave out."""
    arms = list(costs.arms.values())
    known = [cost for cost in arms if cost.hours]
    improved = {verdict.arm for verdict in verdicts if verdict.outcome is Outcome.IMPROVEMENT}
    is_counted = len(known) > MOST_NAMED
    if is_counted:
        yield _of_many(known, costs=costs)
    listed = [cost for cost in arms if not (is_counted and cost.hours)]
    yield from few(_of_arm(cost, costs=costs, is_improved=cost.arm.label in improved) for cost in listed)
    if 1 < len(known) <= MOST_NAMED:
        yield _together(known, costs=costs)
    uneven = say(
        "Runs of one arm that differ so much in time probably shared their machine: do not compare arms by their time."
    )
    left_out = say("Not included: the search for learning rates, the evaluation of the vanilla model and the controls.")
    if known:
        yield paragraph(unknown_times(records), uneven if any(cost.is_uneven for cost in known) else "", left_out)
    if not arms:
        yield say("Nothing was trained here.")


def _of_arm(cost: RunCost, *, costs: Costs, is_improved: bool) -> Phrase:
    has_points = is_improved and cost.points_per_hour > 0
    of_a_point = say_named("cost.of_a_point", minutes=amount(60 / cost.points_per_hour)) if has_points else ""
    return paragraph(_of_its_runs(cost, costs=costs), of_a_point)


def _of_its_runs(cost: RunCost, *, costs: Costs) -> Phrase:
    label, num_runs = cost.arm.label, len(cost.arm.used)
    if not cost.hours:
        return say("{arm}: the time of its runs, or the number of their devices, is not known.", arm=label)
    values = {"arm": label, "one": costs.of({label: 1}), "all": costs.of({label: num_runs}), "runs": num_runs}
    if num_runs == 1:
        return say("{arm}: {one} for its only run.", arm=label, one=values["one"])
    if not cost.is_uneven:
        return say("{arm}: {one} a run, {all} for all {runs} runs.", **values)
    low, high = (amount(60 * end) for end in (min(cost.hours), max(cost.hours)))
    return say("{arm}: {one} a run ({low} to {high} minutes), {all} for all {runs} runs.", low=low, high=high, **values)


def _total(known: Sequence[RunCost]) -> dict[str, int]:
    return {cost.arm.label: len(cost.arm.used) for cost in known}


def _together(known: Sequence[RunCost], *, costs: Costs) -> Phrase:
    total = _total(known)
    return say_named("cost.together", runs=sum(total.values()), all=costs.of(total))


def _of_many(known: Sequence[RunCost], *, costs: Costs) -> Phrase:
    total, ordered = _total(known), sorted(known, key=lambda cost: cost.of_runs(1))
    return say_named(
        "cost.of_many",
        count=len(known),
        runs=sum(total.values()),
        all=costs.of(total),
        low=costs.said(ordered[0].of_runs(1)),
        cheapest=ordered[0].arm.label,
        high=costs.said(ordered[-1].of_runs(1)),
        dearest=ordered[-1].arm.label,
    )
