"""A verdict in words for people who decide: what came out, how sure it is and what it does not cover."""

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
from vlm_rl.evaluation.statistics import Difference, Interval
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, ROUNDING, Outcome
from vlm_rl.reports.phrase import Phrase, listed, say, say_named
from vlm_rl.reports.tables.table import p_text
from vlm_rl.reports.verdicts.judged import Judged

COLLAPSE = 0.2  # of seeds, in the sentence on what is not covered and in benchmarks/calibration.py


def said(verdict: Judged, kind: str) -> Phrase:
    """What came out, as words/sentences.toml has it for each outcome: `headline`, `short`, `word`, `next_stage`, or `pair` of a pair."""
    return say_named(
        f"verdict.{verdict.outcome.name.lower()}.{kind}",
        arm=verdict.arm,
        reference=reference_of(verdict),
        reason=verdict.reason,
        delta=100 * verdict.smallest_effect,
        **_points(verdict.new_questions),
        **_levels(verdict),
    )


def short_verdict(verdict: Judged) -> Phrase:
    """The few words of the headline, with both levels of accuracy where they differ."""
    is_told_by_levels = verdict.outcome in (Outcome.IMPROVEMENT, Outcome.HARM) and verdict.comparison.reference is not None
    return said(verdict, "short_against_arm" if is_told_by_levels else "short")


def _levels(verdict: Judged) -> dict[str, str | float]:
    """Means over seeds, in percent."""
    comparison = verdict.comparison
    if comparison.difference is None:
        return {}
    return {
        "split": comparison.choice.endpoint.split,
        "before": 100 * float(comparison.reference_scores.matrix().mean()),
        "after": 100 * float(comparison.scores.matrix().mean()),
        "change": 100 * verdict.effect,
    }


def sentences(verdict: Judged) -> tuple[Phrase, ...]:
    """What stands below the headline; of a comparison that was refused there is nothing to say but who was left out."""
    difference = verdict.difference
    found = [] if difference is None else list(_measured(verdict, difference=difference))
    if verdict.dropped:
        found.append(say_named("verdict.dropped", runs=listed(verdict.dropped)))
    return (*found, *verdict.flags)


def reference_of(verdict: Judged) -> str:
    """The reference, as a word in a sentence."""
    reference = verdict.comparison.reference
    return say("the untrained model") if reference is None else reference.label


def _measured(verdict: Judged, *, difference: Difference) -> Iterator[Phrase]:
    yield _basis(verdict, difference=difference)
    if difference.num_seeds < 2:
        yield say_named("verdict.this_run_only", **_points(verdict.this_run_only))
    elif math.isnan(verdict.p_value):
        yield say("Measured: {gain:+.1f} points.", gain=100 * difference.estimate)
    else:
        yield from _tested(verdict, difference=difference)
    yield from verdict.notes


def _tested(verdict: Judged, *, difference: Difference) -> Iterator[Phrase]:
    yield _intervals(verdict)
    if verdict.family > 1:
        yield say_named("verdict.corrected", family=verdict.family, p=p_text(verdict.adjusted_p))
    if verdict.outcome is Outcome.NO_DIFFERENCE:
        yield say_named("verdict.inside_delta", delta=100 * verdict.smallest_effect)
    if verdict.outcome is Outcome.OPEN or difference.num_seeds < FEWEST_SEEDS:
        yield from what_would_settle(verdict, difference=difference)
    yield could_not_have_seen(verdict, difference=difference)
    seeds = difference.num_seeds
    yield say_named("verdict.not_covered", unseen=100 * (1 - COLLAPSE) ** seeds, seeds=seeds)
    if len(difference.seeds) > 1 and min(difference.seed_variances) <= ROUNDING:
        yield say("On one side all seeds scored exactly the same, so chance between seeds is likely to be underrated.")


def _basis(verdict: Judged, *, difference: Difference) -> Phrase:
    pairs = say("each seed is compared with its own untrained model")
    arms = say("the seeds of the two sides have nothing to do with each other and are not paired")
    return say_named(
        "verdict.basis",
        seeds=_seeds(difference),
        questions=_questions(verdict, difference=difference),
        design=pairs if verdict.comparison.reference is None else arms,
    )


def _seeds(difference: Difference) -> Phrase:
    if difference.seeds == (1,):
        return say("one seed")
    if len(difference.seeds) == 1:
        return say("{seeds} seeds", seeds=difference.num_seeds)
    return say("{arm} and {reference} seeds", arm=difference.seeds[0], reference=difference.seeds[1])


def _questions(verdict: Judged, *, difference: Difference) -> Phrase:
    asked = verdict.comparison.num_questions
    if difference.num_questions == asked:
        return say("{questions:,} questions", questions=asked)
    return say("{questions:,} questions on {images:,} images", questions=asked, images=difference.num_questions)


def _intervals(verdict: Judged) -> Phrase:
    same = {f"same_{name}": share for name, share in _points(verdict.same_benchmark).items()}
    return say_named("verdict.intervals", p=p_text(verdict.p_value), **_points(verdict.new_questions), **same)


def _points(interval: Interval) -> dict[str, float]:
    """In points; rounded here, so that what rounds to 0 is no -0.0."""
    named = {"gain": interval.estimate, "low": interval.low, "high": interval.high}
    return {name: round(100 * share, 1) + 0.0 for name, share in named.items()}


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
