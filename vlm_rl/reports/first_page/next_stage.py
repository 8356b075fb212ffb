"""What the next stage would be, by rule from the verdict, and what it would need, from the measured cost. No judgement of taste here."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.power import MOST_QUESTIONS, MOST_SEEDS, Range, questions_needed, seeds_dominate, seeds_needed
from vlm_rl.evaluation.statistics import Difference
from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.phrase import Phrase, paragraph, say, told
from vlm_rl.reports.verdicts.plan_sentences import TIMES_AS_MANY, count_range

FEWEST_SEEDS = 3  # that may show an improvement


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
        time = say("{hours} device hours", hours=amount(hours))
        if hours < 1:
            time = say("{minutes} device minutes", minutes=amount(60 * hours))
        if self.price is None:
            return time
        return say("{time} ({money} {currency})", time=time, money=amount(hours * self.price), currency=self.currency)


def amount(value: float) -> str:
    """Three digits: 0.0123, 1.23, 12.3, 1,230."""
    rounded = float(f"{value:.3g}")
    if rounded == 0 or not math.isfinite(rounded):
        return f"{rounded:.0f}"
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def next_stage(
    arm: str,
    *,
    outcome: Outcome,
    difference: Difference | None,
    num_runs: int,
    smallest_effect: float,
    level: float,
    cost: RunCost,
    open_questions: Sequence[Phrase] = (),
) -> Phrase:
    """One paragraph for an arm: scale up, stop, or how much more it takes to know. `open_questions`: after an improvement."""
    if outcome in (Outcome.IMPROVEMENT, Outcome.HARM, Outcome.NO_DIFFERENCE):
        what = told(f"verdict.{outcome.name.lower()}.next_stage", arm=arm, delta=100 * smallest_effect)
        again = told("next_stage.again", runs=num_runs, cost=cost.of_runs(num_runs))
        return paragraph(what, *open_questions, again) if outcome is Outcome.IMPROVEMENT else what
    if outcome is Outcome.OPEN and difference is not None:
        return paragraph(*_to_settle(arm, difference=difference, effect=smallest_effect, level=level, cost=cost))
    return _until_judged(arm, num_runs=num_runs, cost=cost)


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


def _to_settle(arm: str, *, difference: Difference, effect: float, level: float, cost: RunCost) -> Iterator[Phrase]:
    """For the smallest effect that matters, or else for the one that was measured."""
    plans = (plan_of(difference, effect=wanted, level=level) for wanted in (effect, abs(difference.estimate)))
    plan = next((plan for plan in plans if plan is not None), None)
    if plan is None:
        yield told("next_stage.out_of_reach", arm=arm)
        return
    yield told(
        "next_stage.decide",
        arm=arm,
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


def _until_judged(arm: str, *, num_runs: int, cost: RunCost) -> Phrase:
    more = max(0, FEWEST_SEEDS - num_runs)
    if more == 1:
        return told("next_stage.one_more", arm=arm, cost=cost.of_runs(1))
    if more:
        return told("next_stage.more", arm=arm, more=more, cost=cost.of_runs(more))
    return say("{arm}: first put right what kept it from being judged, as its verdict says.", arm=arm)
