"""The verdict on every trained arm of a report (docs/statistics.md): compare, adjust over the family, decide, say it."""

import math
from dataclasses import replace

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, Outcome, decide, lacks_seed_spread
from vlm_rl.reports.phrase import Phrase, say, told
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.verdicts.arm_verdict import ArmVerdict
from vlm_rl.reports.verdicts.comparisons import Comparison, compare_all, tested
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
    found = tested(compare_all(records, choice=choice, reference=reference))
    family = sum(not math.isnan(p) for _, p, _ in found)
    return tuple(
        judge(one, p_value=p, adjusted_p=adjusted_p, family=family, smallest_effect=smallest_effect)
        for one, p, adjusted_p in found
    )


def judge(comparison: Comparison, *, p_value: float, adjusted_p: float, family: int, smallest_effect: float) -> ArmVerdict:
    """The verdict on one comparison."""
    reason = why_not(comparison)
    outcome = Outcome.NOT_JUDGED
    if comparison.difference is not None and reason is None:
        outcome = decide(comparison.difference, adjusted_p=adjusted_p, smallest_effect=smallest_effect)
    if outcome is Outcome.IMPROVEMENT and (reason := _why_no_improvement(comparison)) is not None:
        outcome = Outcome.NOT_JUDGED
    unsaid = ArmVerdict(
        comparison=comparison,
        outcome=outcome,
        reason=reason,
        p_value=p_value,
        adjusted_p=adjusted_p,
        family=family,
        smallest_effect=smallest_effect,
        headline=say("{text}", text=""),
        sentences=(),
    )
    return replace(unsaid, headline=said(unsaid, "headline"), sentences=sentences(unsaid))


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
        return told(f"comparison.{happened}", seeds=difference.num_seeds)
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
