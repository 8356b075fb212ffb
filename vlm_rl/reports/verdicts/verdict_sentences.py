"""A verdict in words for people who decide: what came out, how sure it is and what it does not cover."""

import math
from collections.abc import Iterator

from vlm_rl.evaluation.statistics import Difference, Interval
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, ROUNDING, Outcome
from vlm_rl.reports.phrase import Phrase, listed, say
from vlm_rl.reports.verdicts.arm_verdict import ArmVerdict
from vlm_rl.reports.verdicts.plan_sentences import could_not_have_seen, what_would_settle

COLLAPSE = 0.2  # of seeds, in the sentence on what is not covered and in benchmarks/calibration.py


def headline(verdict: ArmVerdict) -> Phrase:
    """The verdict in one sentence, with the effect and its interval."""
    values = {"arm": verdict.arm, "reference": reference_of(verdict), **_points(verdict.new_questions)}
    if verdict.outcome is Outcome.IMPROVEMENT:
        return say(
            "{arm} is an improvement over {reference}: {gain:+.1f} points "
            "(95 % interval {low:+.1f} to {high:+.1f}, new seeds and new questions).",
            **values,
        )
    if verdict.outcome is Outcome.HARM:
        return say(
            "{arm} does harm, compared with {reference}: {gain:+.1f} points "
            "(95 % interval {low:+.1f} to {high:+.1f}, new seeds and new questions).",
            **values,
        )
    if verdict.outcome is Outcome.NO_DIFFERENCE:
        delta = 100 * verdict.smallest_effect
        return say("{arm} and {reference} differ by less than {delta:g} points ({gain:+.1f} measured).", delta=delta, **values)
    if verdict.outcome is Outcome.OPEN:
        return say(
            "{arm} against {reference}: no evidence either way. {gain:+.1f} points were measured, but the true gain may well "
            "be anything from {low:+.1f} to {high:+.1f}.",
            **values,
        )
    return say("{arm} against {reference} is not judged: {reason}.", reason=verdict.reason, **values)


def sentences(verdict: ArmVerdict) -> tuple[Phrase, ...]:
    """What stands below the headline; of a comparison that was refused there is nothing to say but who was left out."""
    difference = verdict.difference
    found = [] if difference is None else list(_measured(verdict, difference=difference))
    if verdict.dropped:
        found.append(_dropped(verdict))
    return (*found, *verdict.flags)


def reference_of(verdict: ArmVerdict) -> str:
    """The reference, as a word in a sentence."""
    reference = verdict.comparison.reference
    return say("the untrained model") if reference is None else reference.label


def p_text(p: float) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _measured(verdict: ArmVerdict, *, difference: Difference) -> Iterator[Phrase]:
    yield _basis(verdict, difference=difference)
    if difference.num_seeds < 2:
        yield say(
            "This run only: {gain:+.1f} points, between {low:+.1f} and {high:+.1f} on other questions like these (95 %). "
            "Another seed may show something else.",
            **_points(verdict.this_run_only),
        )
    elif math.isnan(verdict.p_value):
        yield say("Measured: {gain:+.1f} points.", gain=100 * difference.estimate)
    else:
        yield from _tested(verdict, difference=difference)
    yield verdict.comparison.choice.note
    if verdict.reference_note is not None:
        yield verdict.reference_note


def _tested(verdict: ArmVerdict, *, difference: Difference) -> Iterator[Phrase]:
    yield _intervals(verdict)
    if verdict.family > 1:
        yield say(
            "With {family} arms compared it counts as {p} (Holm's correction).",
            family=verdict.family,
            p=p_text(verdict.adjusted_p),
        )
    if verdict.outcome is Outcome.NO_DIFFERENCE:
        yield say(
            "The 90 % interval lies inside ±{delta:g} points, the smallest effect that was said to matter.",
            delta=100 * verdict.smallest_effect,
        )
    if verdict.outcome is Outcome.OPEN or difference.num_seeds < FEWEST_SEEDS:
        yield from what_would_settle(verdict, difference=difference)
    yield could_not_have_seen(verdict, difference=difference)
    yield _not_covered(difference)
    if len(difference.seeds) > 1 and min(difference.seed_variances) <= ROUNDING:
        yield say("On one side all seeds scored exactly the same, so chance between seeds is likely to be underrated.")


def _basis(verdict: ArmVerdict, *, difference: Difference) -> Phrase:
    pairs = say("each seed is compared with its own untrained model")
    arms = say("the seeds of the two sides have nothing to do with each other and are not paired")
    return say(
        "It rests on {seeds} and {questions}; {design}.",
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


def _questions(verdict: ArmVerdict, *, difference: Difference) -> Phrase:
    asked = verdict.comparison.num_questions
    if difference.num_questions == asked:
        return say("{questions:,} questions", questions=asked)
    return say("{questions:,} questions on {images:,} images", questions=asked, images=difference.num_questions)


def _intervals(verdict: ArmVerdict) -> Phrase:
    new, same = _points(verdict.new_questions), _points(verdict.same_benchmark)
    return say(
        "With 95 % confidence the mean gain lies between {low:+.1f} and {high:+.1f} points for new seeds and new questions like "
        "these, and between {same_low:+.1f} and {same_high:+.1f} for new seeds on these very questions ({p}).",
        low=new["low"],
        high=new["high"],
        same_low=same["low"],
        same_high=same["high"],
        p=p_text(verdict.p_value),
    )


def _not_covered(difference: Difference) -> Phrase:
    return say(
        "Not covered is rare collapse: if training collapsed for one seed in five, {unseen:.0f} % of studies with {seeds} seeds "
        "would show no sign of it.",
        unseen=100 * (1 - COLLAPSE) ** difference.num_seeds,
        seeds=difference.num_seeds,
    )


def _dropped(verdict: ArmVerdict) -> Phrase:
    return say(
        "Left out: {runs}. If they are missing because training went wrong, the rest looks better than it is.",
        runs=listed(verdict.dropped),
    )


def _points(interval: Interval) -> dict[str, float]:
    """In points; rounded here, so that what rounds to 0 is no -0.0."""
    named = {"gain": interval.estimate, "low": interval.low, "high": interval.high}
    return {name: round(100 * share, 1) + 0.0 for name, share in named.items()}
