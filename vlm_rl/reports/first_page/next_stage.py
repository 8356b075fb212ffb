"""What the runs took, as measured; what the next stage would be, by rule from the verdict, and what it would take. No taste here."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.power import MOST_QUESTIONS, MOST_SEEDS, Range, questions_needed, seeds_dominate, seeds_needed
from vlm_rl.evaluation.statistics import Difference
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, Outcome
from vlm_rl.reports.phrase import Phrase, paragraph, say, say_named
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables.cost_tables import device_hours, points_per_device_hour
from vlm_rl.reports.verdicts.family import ArmVerdict
from vlm_rl.reports.verdicts.verdict_sentences import TIMES_AS_MANY, count_range, said

LARGEST_RATIO = 1.5  # slowest to fastest run of an arm; beyond it the machine, not the arm, was measured


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What one more run of an arm takes, as measured."""

    device_hours: float  # NaN where nothing was measured
    price: float | None  # of a device hour
    currency: str

    @property
    def is_known(self) -> bool:
        """Whether the time of a run was measured."""
        return math.isfinite(self.device_hours)

    def of_runs(self, num_runs: float) -> Phrase:
        """`1.20 device hours (3.00 USD)`, or minutes where it is less than one."""
        hours = num_runs * self.device_hours
        if not self.is_known:
            return say("an unknown time")
        in_minutes = say("{minutes} device minutes", minutes=amount(60 * hours))
        time = in_minutes if hours < 1 else say("{hours} device hours", hours=amount(hours))
        if self.price is None:
            return time
        return say("{time} ({money} {currency})", time=time, money=amount(hours * self.price), currency=self.currency)


def amount(value: float) -> str:
    """Three digits: 0.0123, 1.23, 12.3, 1,230."""
    rounded = float(f"{value:.3g}")
    if rounded == 0 or not math.isfinite(rounded):
        return f"{rounded:.0f}"
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def next_stage(verdict: ArmVerdict, *, cost: RunCost, open_questions: Sequence[Phrase] = ()) -> Phrase:
    """One paragraph for an arm: scale up, stop, or how much more it takes to know. `open_questions`: after an improvement."""
    outcome, num_runs = verdict.outcome, len(verdict.seeds)
    if outcome in (Outcome.IMPROVEMENT, Outcome.HARM, Outcome.NO_DIFFERENCE):
        what = said(verdict, "next_stage")
        again = say_named("next_stage.again", runs=num_runs, cost=cost.of_runs(num_runs))
        return paragraph(what, *open_questions, again) if outcome is Outcome.IMPROVEMENT else what
    if outcome is Outcome.OPEN and verdict.difference is not None:
        return paragraph(*_to_settle(verdict, difference=verdict.difference, cost=cost))
    more = max(0, FEWEST_SEEDS - num_runs)
    if more:
        return say_named(
            f"next_stage.{'one_more' if more == 1 else 'more'}", arm=verdict.arm, more=more, cost=cost.of_runs(more)
        )
    return say("{arm}: first put right what kept it from being judged, as its verdict says.", arm=verdict.arm)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A design that finds an effect four times out of five; one of the two numbers is a range."""

    effect: float  # a share
    seeds: Range
    questions: Range


def plan_of(difference: Difference, *, effect: float, level: float) -> Plan | None:
    """The first that can be run: more of what leaves most to chance, then with several times as much of the other, too."""
    now_seeds, now_questions = difference.num_seeds, difference.num_questions
    for times in (1, TIMES_AS_MANY):
        seeds, questions = _exactly(times * now_seeds), _exactly(times * now_questions)
        if seeds_dominate(difference):
            seeds = seeds_needed(difference, effect=effect, questions=times * now_questions, level=level)
        else:
            questions = questions_needed(difference, effect=effect, seeds=times * now_seeds, level=level)
        if math.isfinite(seeds.estimate + questions.estimate):
            return Plan(effect=effect, seeds=seeds, questions=questions)
    return None


def _exactly(number: float) -> Range:
    return Range(estimate=float(number), low=float(number), high=float(number))


def _to_settle(verdict: ArmVerdict, *, difference: Difference, cost: RunCost) -> Iterator[Phrase]:
    """For the smallest effect that matters, or else for the one that was measured."""
    effects = (verdict.smallest_effect, abs(difference.estimate))
    plans = (plan_of(difference, effect=effect, level=verdict.planning_level) for effect in effects)
    plan = next((plan for plan in plans if plan is not None), None)
    if plan is None:
        yield say_named("next_stage.out_of_reach", arm=verdict.arm)
        return
    yield say_named(
        "next_stage.decide",
        arm=verdict.arm,
        points=100 * plan.effect,
        seeds=count_range(plan.seeds, most=MOST_SEEDS),
        now_seeds=difference.num_seeds,
        questions=count_range(plan.questions, most=MOST_QUESTIONS),
        now_questions=difference.num_questions,
    )
    more = int(plan.seeds.estimate) - difference.num_seeds
    if more == 1:
        yield say("One more seed takes {cost}.", cost=cost.of_runs(1))
    if more > 1:
        yield say("{more} more seeds take {cost}.", more=more, cost=cost.of_runs(more))
    if plan.questions.estimate > difference.num_questions:
        yield say("More questions need no training: evaluate.py asks the runs that are there.")


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
        of_a_point = say_named("cost.of_a_point", minutes=amount(60 / points)) if points > 0 else ""
        yield paragraph(_of_runs(arm, cost=costs[arm.label]), of_a_point)
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


def _is_uneven(arm: Arm) -> bool:
    hours = _hours(arm)
    return bool(hours) and max(hours) > LARGEST_RATIO * min(hours)
