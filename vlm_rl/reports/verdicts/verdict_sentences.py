"""A verdict in words for people who decide: what came out, how sure it is, what it does not cover and what would settle it."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

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
from vlm_rl.reports.reading.doubts import Doubt
from vlm_rl.reports.tables.table import p_text
from vlm_rl.reports.verdicts.family import Judged

COLLAPSE = 0.2  # of seeds, in the sentence on what is not covered and in benchmarks/calibration.py
TIMES_AS_MANY = 4  # where more seeds or questions alone do not settle a case


def sentence_of(verdict: Judged, kind: str) -> Phrase:
    """What came out, as words/sentences.toml has it for each outcome: `headline`, `short`, `word`, `next_stage`, or `pair` of a pair."""
    comparison, levels = verdict.comparison, {}
    if comparison.difference is not None:
        before, after = (100 * float(side.matrix().mean()) for side in (comparison.reference_scores, comparison.scores))
        levels = {"before": before, "after": after, "change": 100 * comparison.difference.estimate}
    return say_named(
        f"verdict.{verdict.outcome.name.lower()}.{kind}",
        arm=verdict.arm,
        reference=comparison.reference_name,
        reason=verdict.reason,
        delta=100 * verdict.smallest_effect,
        split=comparison.choice.endpoint.split,
        interval=interval_name(verdict),
        **_points(verdict.agreeing),
        **levels,
    )


def interval_name(verdict: Judged) -> Phrase:
    """What the interval beside a verdict is called: `95 % interval`, or with the confidence that the correction asks for."""
    if _is_widened(verdict):
        return say("widened {confidence:.3g} % interval", confidence=100 * verdict.confidence)
    return say("{confidence:.3g} % interval", confidence=100 * verdict.confidence)


def _is_widened(verdict: Judged) -> bool:
    """Whether Holm's correction asks for more than a single arm would need; the last step of it does not."""
    return verdict.outcome is not Outcome.NO_DIFFERENCE and verdict.confidence > 1 - verdict.look_level


def short_verdict(verdict: Judged) -> Phrase:
    """The few words of the headline, with both levels of accuracy where they differ."""
    has_two_levels = verdict.outcome in (Outcome.IMPROVEMENT, Outcome.HARM) and verdict.comparison.reference is not None
    return sentence_of(verdict, "short_against_arm" if has_two_levels else "short")


def sentences(verdict: Judged) -> tuple[Phrase, ...]:
    """What stands below the headline; of a comparison that was refused there is nothing to say but who was left out."""
    dropped, difference = verdict.comparison.dropped, verdict.difference
    measured = () if difference is None else _measured(verdict, difference=difference)
    left_out = [say_named("verdict.dropped", runs=listed(dropped))] if dropped else []
    doubted = [_doubted(verdict.doubts)] if verdict.doubts and difference is not None else []
    accepted = [say_named("verdict.accepted", kind=doubt.kind, doubt=doubt.said) for doubt in verdict.accepted]
    return (*doubted, *accepted, *measured, *left_out, *verdict.comparison.flags)


def _doubted(doubts: Sequence[Doubt]) -> Phrase:
    """The first doubt whole, how many more there are, and how to judge all the same."""
    more = say_named("doubts.more", count=len(doubts) - 1) if len(doubts) > 1 else ""
    kinds = ",".join(dict.fromkeys(doubt.kind for doubt in doubts))
    return say_named("verdict.doubted", doubt=doubts[0].said, more=more, kinds=kinds)


def _measured(verdict: Judged, *, difference: Difference) -> Iterator[Phrase]:
    num_questions, num_images = verdict.comparison.num_questions, difference.num_questions
    questions = say("{questions:,} questions", questions=num_questions)
    if num_images != num_questions:
        questions = say("{questions:,} questions on {images:,} images", questions=num_questions, images=num_images)
    design = say("the seeds of the two sides have nothing to do with each other and are not paired")
    if verdict.comparison.reference is None:
        design = say("each seed is compared with its own vanilla model")
    yield say_named("verdict.basis", seeds=_seeds(difference), questions=questions, design=design)
    if difference.num_seeds < 2:
        yield say_named("verdict.this_run_only", **_points(difference.this_run_only()))
    elif math.isnan(verdict.p_value):
        yield say_named("verdict.measured", gain=100 * difference.estimate)
    else:
        yield from _tested(verdict, difference=difference)


def _tested(verdict: Judged, *, difference: Difference) -> Iterator[Phrase]:
    alone = _points(verdict.new_questions) | {f"same_{name}": share for name, share in _points(verdict.same_benchmark).items()}
    is_widened = _is_widened(verdict)
    yield say_named("verdict.this_arm_alone" if is_widened else "verdict.intervals", p=p_text(verdict.p_value), **alone)
    if verdict.family > 1:
        yield say_named("verdict.corrected", family=verdict.family, p=p_text(verdict.adjusted_p))
    if is_widened and verdict.outcome is not Outcome.NOT_JUDGED:
        yield say_named("verdict.widened", confidence=100 * verdict.confidence)
    planned, number = verdict.comparison.choice.endpoint.planned_looks, len(verdict.looks)
    if planned > 1 and number <= planned:
        at, level = ", ".join(map(str, verdict.looks)), 100 * verdict.look_level
        yield say_named("looks.cost", number=number, planned=planned, seeds=at, level=level)
    if verdict.outcome is Outcome.NO_DIFFERENCE:
        yield say_named("verdict.inside_delta", delta=100 * verdict.smallest_effect, confidence=100 * verdict.confidence)
    seeds = difference.num_seeds
    if verdict.outcome is Outcome.OPEN:
        yield from _what_would_settle(verdict, difference=difference)
    if seeds >= FEWEST_SEEDS:
        found = detectable_effect(difference, level=verdict.planning_level)
        yield say_named("plan.could_not_see", effect=effect_range(found), seeds=seeds)
    yield say_named("verdict.not_covered", unseen=100 * (1 - COLLAPSE) ** seeds, seeds=seeds)
    if len(difference.seeds) > 1 and min(difference.seed_variances) <= ROUNDING:
        yield say_named("verdict.same_on_one_side")


def _seeds(difference: Difference) -> Phrase:
    if difference.seeds == (1,):
        return say("one seed")
    if len(difference.seeds) == 1:
        return say("{seeds} seeds", seeds=difference.num_seeds)
    return say("{arm} and {reference} seeds", arm=difference.seeds[0], reference=difference.seeds[1])


def _points(interval: Interval) -> dict[str, float]:
    """In points; rounded here, so that what rounds to 0 is no -0.0."""
    named = {"gain": interval.estimate, "low": interval.low, "high": interval.high}
    return {name: round(100 * share, 1) + 0.0 for name, share in named.items()}


def _what_would_settle(verdict: Judged, *, difference: Difference) -> Iterator[Phrase]:
    """For the smallest effect that matters, and for the one measured."""
    kind, delta, measured = scarcer(difference), verdict.smallest_effect, abs(difference.estimate)
    now = difference.num_seeds if kind == "seeds" else verdict.comparison.num_questions
    smallest, as_measured = (more_needed(verdict, difference=difference, effect=effect) for effect in (delta, measured))
    yield say_named(
        f"plan.more_{kind}",
        now=now,
        delta=100 * delta,
        smallest=count_range(smallest, kind=kind, each=questions_of_image(verdict)),
        measured=100 * measured,
        as_measured=count_range(as_measured, kind=kind, each=questions_of_image(verdict)),
    )
    if math.isinf(smallest.estimate):
        needed = more_needed(verdict, difference=difference, effect=delta, times=TIMES_AS_MANY)
        name = f"plan.{kind}_out_of_reach" if math.isinf(needed.estimate) else f"plan.{kind}_with_more"
        sizes = {"asked": TIMES_AS_MANY * verdict.comparison.num_questions, "runs": TIMES_AS_MANY * difference.num_seeds}
        wanted = count_range(needed, kind=kind, each=questions_of_image(verdict))
        yield say_named(name, delta=100 * delta, **sizes, **{kind: wanted})


def questions_of_image(verdict: Judged) -> float:
    """Questions for each image that a difference counts as one: plans count images, people ask questions."""
    assert verdict.difference is not None
    return verdict.comparison.num_questions / verdict.difference.num_questions


def scarcer(difference: Difference) -> Literal["seeds", "questions"]:
    """Which of the two leave more to chance."""
    return "seeds" if seeds_dominate(difference) else "questions"


def more_needed(verdict: Judged, *, difference: Difference, effect: float, times: int | None = None) -> Range:
    """How many it takes of what is scarcer to find an effect, with `times` as many of the other, seeds of the smaller arm.

    `times` None: with the other as it is, where two arms may have unequal numbers of seeds.
    """
    level = verdict.planning_level
    if scarcer(difference) == "seeds":
        return seeds_needed(difference, effect=effect, questions=(times or 1) * difference.num_questions, level=level)
    seeds = None if times is None else times * difference.num_seeds
    return questions_needed(difference, effect=effect, seeds=seeds, level=level)


def count_range(needed: Range, *, kind: str, each: float = 1) -> Phrase:
    """`about 9 (4 to 150)` of `seeds` or `questions`, where one of `needed` stands for `each` questions."""
    scale = 1 if kind == "seeds" else each
    beyond = say("more than {most:,}", most=MOST_SEEDS if kind == "seeds" else MOST_QUESTIONS)
    return _range(needed, beyond=beyond, written=lambda number: say("{number:,}", number=math.ceil(round(scale * number, 6))))


def effect_range(found: Range) -> Phrase:
    """`about 3.1 (2.0 to 19.4)`, in points."""
    return _range(found, beyond=say("more than 100"), written=lambda share: say("{points:.1f}", points=100 * share))


def _range(found: Range, *, beyond: Phrase, written: Callable[[float], Phrase]) -> Phrase:
    ends = (found.estimate, found.low, found.high)
    estimate, low, high = (beyond if math.isinf(end) else written(end) for end in ends)
    return estimate if low == high else say("about {estimate} ({low} to {high})", estimate=estimate, low=low, high=high)
