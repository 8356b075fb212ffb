"""What a study could not have seen, and what would settle an open case: power in words, always as a range."""

import math
from collections.abc import Iterator

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
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.verdicts.arm_verdict import ArmVerdict

TIMES_AS_MANY = 4  # where more seeds or questions alone do not settle a case


def what_would_settle(verdict: ArmVerdict, *, difference: Difference) -> Iterator[Phrase]:
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
    if more_seeds:
        yield say(
            "What would settle it: more seeds, for most of the chance lies in how much they differ ({now} so far). To find a true "
            "gain of {delta:g} points at 80 % power takes {smallest} seeds on as many questions; a gain of {measured:.1f} points, "
            "as measured, {as_measured}.",
            now=difference.num_seeds,
            **values,
        )
    else:
        yield say(
            "What would settle it: more questions, for most of the chance lies in which were asked ({now} so far). To find a true "
            "gain of {delta:g} points at 80 % power takes {smallest} questions with as many seeds; a gain of {measured:.1f} points, "
            "as measured, {as_measured}.",
            now=difference.num_questions,
            **values,
        )
    if math.isinf(plans[0].estimate):
        yield _with_more_of_both(verdict, difference=difference)


def could_not_have_seen(verdict: ArmVerdict, *, difference: Difference) -> Phrase:
    """The smallest effect that this design finds at 80 % power; none at all with too few seeds."""
    if difference.num_seeds < FEWEST_SEEDS:
        return say(
            "What this study could not have seen: any gain at all, since two seeds are too few to call one an improvement."
        )
    found = detectable_effect(difference, level=verdict.planning_level)
    return say(
        "What this study could not have seen: a true gain below {effect} points is missed more often than once in five times "
        "(a range, as {seeds} seeds leave open how much seeds differ).",
        effect=effect_range(found),
        seeds=difference.num_seeds,
    )


def count_range(needed: Range, *, most: int) -> Phrase:
    """`about 9 (4 to 150)`."""
    return _range(*(_count(number, most=most) for number in (needed.estimate, needed.low, needed.high)))


def effect_range(found: Range) -> Phrase:
    """`about 3.1 (2.0 to 19.4)`, in points."""
    return _range(*(_effect(share) for share in (found.estimate, found.low, found.high)))


def _with_more_of_both(verdict: ArmVerdict, *, difference: Difference) -> Phrase:
    """What one source of chance alone cannot settle: several times the one, and how much of the other that takes."""
    delta, asked = 100 * verdict.smallest_effect, TIMES_AS_MANY * difference.num_questions
    level, effect = verdict.planning_level, verdict.smallest_effect
    if seeds_dominate(difference):
        seeds = seeds_needed(difference, effect=effect, questions=asked, level=level)
        if math.isinf(seeds.estimate):
            return say(
                "As things vary here, {delta:g} points are out of reach even with {asked:,} questions.",
                delta=delta,
                asked=asked,
            )
        return say(
            "That alone will not do for {delta:g} points; with {asked:,} questions it takes {seeds} seeds.",
            delta=delta,
            asked=asked,
            seeds=count_range(seeds, most=MOST_SEEDS),
        )
    runs = TIMES_AS_MANY * difference.num_seeds
    questions = questions_needed(difference, effect=effect, seeds=runs, level=level)
    if math.isinf(questions.estimate):
        return say("As things vary here, {delta:g} points are out of reach even with {runs:,} seeds.", delta=delta, runs=runs)
    return say(
        "That alone will not do for {delta:g} points; with {runs:,} seeds it takes {questions} questions.",
        delta=delta,
        runs=runs,
        questions=count_range(questions, most=MOST_QUESTIONS),
    )


def _range(estimate: Phrase, low: Phrase, high: Phrase) -> Phrase:
    if low == high:
        return estimate
    return say("about {estimate} ({low} to {high})", estimate=estimate, low=low, high=high)


def _count(number: float, *, most: int) -> Phrase:
    return say("more than {most:,}", most=most) if math.isinf(number) else say("{number:,}", number=int(number))


def _effect(share: float) -> Phrase:
    return say("more than 100") if math.isinf(share) else say("{points:.1f}", points=100 * share)
