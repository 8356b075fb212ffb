"""The verdict on every trained arm of a report (docs/statistics.md): compare, adjust over the family, decide, say it."""

from dataclasses import dataclass, replace

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, Outcome
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.verdicts.comparisons import Comparison, compare_all
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint, declared_reference
from vlm_rl.reports.verdicts.judged import Judged, judged_all, why_not
from vlm_rl.reports.verdicts.verdict_sentences import said, sentences


@dataclass(frozen=True, kw_only=True)
class ArmVerdict(Judged):
    """The decision on one arm, and how it is said."""

    headline: Phrase
    sentences: tuple[Phrase, ...]  # after the headline, for a reader in a hurry first


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


def _verdict(judged: Judged) -> ArmVerdict:
    """In words; a gain that passes the test may yet not be called an improvement."""
    reason = _why_no_improvement(judged.comparison) if judged.outcome is Outcome.IMPROVEMENT else None
    if reason is not None:
        judged = replace(judged, outcome=Outcome.NOT_JUDGED, reason=reason)
    return ArmVerdict(**vars(judged), headline=said(judged, "headline"), sentences=sentences(judged))


def _why_no_improvement(comparison: Comparison) -> Phrase | None:
    """Why a gain that passes the test may yet not be called an improvement."""
    if not comparison.choice.is_declared:
        return say("the gain passes the test, but what it is judged by was not declared before the runs")
    if not comparison.choice.declares(comparison.reference):
        return say("the gain passes the test, but the reference was chosen after the runs")
    if comparison.difference is not None and comparison.difference.num_seeds < FEWEST_SEEDS:
        return say("the gain passes the test, but two seeds are too few to call it an improvement")
    return None
