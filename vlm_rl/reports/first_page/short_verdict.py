"""A verdict in the few words of the headline, with both levels of accuracy. What it rests on is verdict_sentences.py."""

from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.verdicts.arm_verdict import ArmVerdict
from vlm_rl.reports.verdicts.verdict_sentences import reference_of


def short_verdict(verdict: ArmVerdict) -> Phrase:
    """One sentence."""
    if verdict.outcome is Outcome.IMPROVEMENT:
        return _improvement(verdict)
    if verdict.outcome is Outcome.HARM:
        return _harm(verdict)
    if verdict.outcome is Outcome.NO_DIFFERENCE:
        return say(
            "{arm} makes no difference larger than {delta:g} points.", arm=verdict.arm, delta=100 * verdict.smallest_effect
        )
    if verdict.outcome is Outcome.OPEN:
        return say("{arm}: no evidence either way.", arm=verdict.arm)
    return say("{arm}: not judged.", arm=verdict.arm)


def _improvement(verdict: ArmVerdict) -> Phrase:
    if verdict.comparison.reference is None:
        return say(
            "{arm} raised accuracy on {split} from {before:.1f} % to {after:.1f} % ({change:+.1f} points).", **_levels(verdict)
        )
    return say(
        "{arm} beats {reference} on {split}: accuracy {after:.1f} % against {before:.1f} % ({change:+.1f} points).",
        reference=reference_of(verdict),
        **_levels(verdict),
    )


def _harm(verdict: ArmVerdict) -> Phrase:
    if verdict.comparison.reference is None:
        return say(
            "{arm} did harm: accuracy on {split} fell from {before:.1f} % to {after:.1f} % ({change:+.1f} points).",
            **_levels(verdict),
        )
    return say(
        "{arm} does worse than {reference} on {split}: accuracy {after:.1f} % against {before:.1f} % ({change:+.1f} points).",
        reference=reference_of(verdict),
        **_levels(verdict),
    )


def _levels(verdict: ArmVerdict) -> dict[str, str | float]:
    """Means over seeds, in percent."""
    comparison = verdict.comparison
    return {
        "arm": verdict.arm,
        "split": comparison.choice.endpoint.split,
        "before": 100 * float(comparison.reference_scores.matrix().mean()),
        "after": 100 * float(comparison.scores.matrix().mean()),
        "change": 100 * verdict.effect,
    }
