"""What a study could not have seen, and what would settle an open case: power in words, always as a range."""

import math
from collections.abc import Callable, Iterator

from vlm_rl.evaluation.power import (
    MOST_QUESTIONS,
    MOST_SEEDS,
    Range,
    detectable_effect,
    questions_needed,
    seeds_dominate,
    seeds_needed,
)
from vlm_rl.evaluation.statistics import Difference
from vlm_rl.evaluation.verdict import FEWEST_SEEDS
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.verdicts.arm_verdict import Judged

TIMES_AS_MANY = 4  # where more seeds or questions alone do not settle a case


def what_would_settle(verdict: Judged, *, difference: Difference) -> Iterator[Phrase]:
    """Seeds or questions, whichever leave more to chance; for the smallest effect that matters, and for the one measured."""
    more_seeds = seeds_dominate(difference)
    needed, most = (seeds_needed, MOST_SEEDS) if more_seeds else (questions_needed, MOST_QUESTIONS)
    measured = abs(difference.estimate)
    plans = [needed(difference, effect=effect, level=verdict.planning_level) for effect in (verdict.smallest_effect, measured)]
    smallest, as_measured = (count_range(plan, most=most) for plan in plans)
    values = {
        "delta": 100 * verdict.smallest_effect,
        "smallest": smallest,
        "measured": 100 * measured,
        "as_measured": as_measured,
    }
    now = difference.num_seeds if more_seeds else difference.num_questions
    yield say_named("plan.more_seeds" if more_seeds else "plan.more_questions", now=now, **values)
    if math.isinf(plans[0].estimate):
        yield _with_more_of_both(verdict, difference=difference)


def could_not_have_seen(verdict: Judged, *, difference: Difference) -> Phrase:
    """The smallest effect that this design finds at 80 % power; none at all with too few seeds."""
    if difference.num_seeds < FEWEST_SEEDS:
        return say_named("plan.nothing_seen")
    found = detectable_effect(difference, level=verdict.planning_level)
    return say_named("plan.could_not_see", effect=effect_range(found), seeds=difference.num_seeds)


def count_range(needed: Range, *, most: int) -> Phrase:
    """`about 9 (4 to 150)`."""

    def count(number: float) -> Phrase:
        return say("more than {most:,}", most=most) if math.isinf(number) else say("{number:,}", number=int(number))

    return _range(needed, written=count)


def effect_range(found: Range) -> Phrase:
    """`about 3.1 (2.0 to 19.4)`, in points."""

    def effect(share: float) -> Phrase:
        return say("more than 100") if math.isinf(share) else say("{points:.1f}", points=100 * share)

    return _range(found, written=effect)


def _with_more_of_both(verdict: Judged, *, difference: Difference) -> Phrase:
    """What one source of chance alone cannot settle: several times the one, and how much of the other that takes."""
    asked, runs = TIMES_AS_MANY * difference.num_questions, TIMES_AS_MANY * difference.num_seeds
    plan = {"effect": verdict.smallest_effect, "level": verdict.planning_level}
    if seeds_dominate(difference):
        kind, needed, most = "seeds", seeds_needed(difference, questions=asked, **plan), MOST_SEEDS
    else:
        kind, needed, most = "questions", questions_needed(difference, seeds=runs, **plan), MOST_QUESTIONS
    name = f"plan.{kind}_out_of_reach" if math.isinf(needed.estimate) else f"plan.{kind}_with_more"
    return say_named(
        name, delta=100 * verdict.smallest_effect, asked=asked, runs=runs, **{kind: count_range(needed, most=most)}
    )


def _range(found: Range, *, written: Callable[[float], Phrase]) -> Phrase:
    estimate, low, high = map(written, (found.estimate, found.low, found.high))
    return estimate if low == high else say("about {estimate} ({low} to {high})", estimate=estimate, low=low, high=high)
