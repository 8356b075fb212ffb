"""What is corrected for what, which interval stands beside a verdict, and what keeps an arm from being judged."""

from dataclasses import replace

import numpy as np
import pytest
from judged_studies import FIVE, arm, changed, declaring, gained, judged, records

from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import Arm
from vlm_rl.reports.reading.doubts import Doubt
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint
from vlm_rl.reports.verdicts.family import verdicts_of
from vlm_rl.reports.verdicts.verdict_sentences import sentence_of, sentences

GRPO = gained("grpo", *FIVE)


def alike() -> Arm:
    """Five seeds that differ from their vanilla models, and from each other, by one answer of 8,000."""
    scores = np.full((5, 400), 0.5)
    scores[range(5), range(5)] += [0.05 * (-1) ** seed for seed in range(5)]
    return arm("grpo", before=np.full((5, 400), 0.5), after=scores)


def others(number: int) -> list[Arm]:
    """Arms that show nothing."""
    return [gained(f"sft-{place}", 0.05, -0.05, 0.1) for place in range(number)]


def test_a_smallest_effect_that_is_chosen_later_is_marked_and_carries_no_claim() -> None:
    """Five seeds that differ by 0.02 points: within any limit that a person may think of."""
    undeclared = alike()
    declared = changed(undeclared, lambda run: {"config": declaring(smallest_effect=0.01)})
    late, usual, kept = (
        verdicts_of(study, choice=choose_endpoint(study), reference=None, smallest_effect=effect)[0]
        for study, effect in ((records(undeclared), 0.05), (records(undeclared), None), (records(declared), 0.01))
    )
    assert [one.outcome for one in (late, usual, kept)] == [Outcome.NOT_JUDGED, Outcome.NO_DIFFERENCE, Outcome.NO_DIFFERENCE]
    assert "its interval lies inside ±5 points, but that limit was chosen after the runs" in sentence_of(late, "headline")
    assert [len(one.notes) for one in (late, usual, kept)] == [2, 1, 1]
    assert "±2 points, the usual choice: not all runs declared one." in usual.effect_note
    assert "±1 points, was declared by the runs before they started." in kept.effect_note


def test_what_an_arm_claims_is_corrected_for_all_arms_of_its_study_shown_or_not() -> None:
    arms = GRPO, *others(7)
    alone, together = records(GRPO), records(*arms)
    beside = replace(alone, beside=arms[1:])
    (shown,), (first, *_) = judged(beside), judged(together)
    assert (
        (shown.family, shown.adjusted_p, shown.level)
        == (first.family, first.adjusted_p, first.level)
        == (8, 8 * first.p_value, 0.05 / 8)
    )
    assert judged(alone)[0].family == 1


def test_the_interval_beside_a_verdict_agrees_with_it() -> None:
    """Alone sft's p of 0.03 would be a claim, and beside seven arms that show nothing it is none."""
    weak = (0.1, 0.0, 0.1, 0.05, 0.15)
    arms = [gained("grpo", *weak, spread=0.0), *others(7)]
    alone, (beside, *_) = judged(records(arms[0]))[0], judged(records(*arms))
    assert (alone.outcome, beside.outcome) == (Outcome.IMPROVEMENT, Outcome.OPEN)
    assert (alone.agreeing.low > 0, beside.agreeing.low > 0, beside.new_questions.low > 0) == (True, False, True)
    assert alone.agreeing == alone.new_questions
    ends = f"from {100 * beside.agreeing.low:+.1f} to {100 * beside.agreeing.high:+.1f} (widened 99.4 % interval)"
    assert f"the true difference may lie anywhere {ends}" in sentence_of(beside, "headline")
    (equal,) = judged(records(alike()))
    assert (equal.confidence, abs(equal.agreeing.low) < 0.02) == (pytest.approx(0.9), True)


def test_a_doubt_keeps_an_arm_from_being_judged_until_it_is_accepted() -> None:
    doubt = Doubt(kind="changed_files", said=say("{path} was changed.", path="a/b.parquet"))
    study = records(replace(GRPO, doubts=(doubt, replace(doubt, said=say("more.")))))
    refused, accepted = (
        verdicts_of(study, choice=choose_endpoint(study), reference=None, accept=accept)[0]
        for accept in ((), ("changed_files",))
    )
    assert (refused.outcome, accepted.outcome) == (Outcome.NOT_JUDGED, Outcome.IMPROVEMENT)
    assert sentence_of(refused, "headline").endswith("is not judged: files are not as the runs wrote them.")
    assert "a/b.parquet was changed. (and 1 more, see" in sentences(refused)[0]
    assert "report.accept=[changed_files]" in sentences(refused)[0]
    assert "Accepted by the person who made this report (changed_files): a/b.parquet was changed." in sentences(accepted)[0]
    against = judged(records(gained("sft", 0.0, 0.05, -0.05), replace(GRPO, doubts=(doubt,))), reference="grpo")
    assert "a/b.parquet was changed." in sentences(against[0])[0]  # of the reference, too
