"""The verdict on every trained arm of a report (docs/statistics.md): compare, adjust over the family, decide, say it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, Outcome, decide, holm, lacks_seed_spread, p_value
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.verdicts.arm_verdict import ArmVerdict, Judged
from vlm_rl.reports.verdicts.comparisons import Comparison, compare_all
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint, declared_reference
from vlm_rl.reports.verdicts.verdict_sentences import said, sentences


def verdicts_of(
    records: Records, *, endpoint: Endpoint | None, reference: str | None, smallest_effect: float
) -> tuple[ArmVerdict, ...]:
    """One verdict for each trained arm but the reference.

    `endpoint` and `reference` None: as the runs declared, else each arm's own untrained model; anything else counts as chosen
    after the runs, but for "vanilla". Else `reference` is the label or variant of a trained arm. `smallest_effect`: delta, a share.
    """
    choice = choose_endpoint(records, override=endpoint)
    reference = declared_reference(records, choice=choice) if reference is None else reference
    compared = compare_all(records, choice=choice, reference=reference)
    return tuple(map(_verdict, judged_all(compared, why_not=why_not, smallest_effect=smallest_effect)))


def judged_all(
    comparisons: Sequence[Comparison], *, why_not: Callable[[Comparison], Phrase | None], smallest_effect: float
) -> Iterator[Judged]:
    """What came out of each comparison, with Holm's correction over all that have a p-value."""
    p_values = [math.nan if one.difference is None else p_value(one.difference) for one in comparisons]
    family = sum(not math.isnan(p) for p in p_values)
    for one, p, adjusted_p in zip(comparisons, p_values, holm(p_values), strict=True):
        reason, outcome = why_not(one), Outcome.NOT_JUDGED
        if one.difference is not None and reason is None:
            outcome = decide(one.difference, adjusted_p=adjusted_p, smallest_effect=smallest_effect)
        yield Judged(
            comparison=one,
            outcome=outcome,
            reason=reason,
            p_value=p,
            adjusted_p=adjusted_p,
            family=family,
            smallest_effect=smallest_effect,
        )


def _verdict(judged: Judged) -> ArmVerdict:
    """In words; a gain that passes the test may yet not be called an improvement."""
    reason = _why_no_improvement(judged.comparison) if judged.outcome is Outcome.IMPROVEMENT else None
    if reason is not None:
        judged = replace(judged, outcome=Outcome.NOT_JUDGED, reason=reason)
    return ArmVerdict(**vars(judged), headline=said(judged, "headline"), sentences=sentences(judged))


def why_not(comparison: Comparison) -> Phrase | None:
    """Why there is no verdict on an arm at all."""
    difference = comparison.difference
    if difference is None:
        return comparison.refusal
    if difference.num_seeds < 2:
        return say("one seed shows one run, and says nothing about the next")
    if difference.num_questions < 2:
        return say("one question shows no chance between questions")
    if lacks_seed_spread(difference):
        happened = "no_spread" if difference.estimate else "nothing_happened"
        return say_named(f"comparison.{happened}", seeds=difference.num_seeds)
    return None


def _why_no_improvement(comparison: Comparison) -> Phrase | None:
    """Why a gain that passes the test may yet not be called an improvement."""
    if not comparison.choice.is_declared:
        return say("the gain passes the test, but what it is judged by was not declared before the runs")
    if not comparison.choice.declares(comparison.reference):
        return say("the gain passes the test, but the reference was chosen after the runs")
    if comparison.difference is not None and comparison.difference.num_seeds < FEWEST_SEEDS:
        return say("the gain passes the test, but two seeds are too few to call it an improvement")
    return None
