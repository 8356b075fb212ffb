import math

import numpy as np
import pytest
from scipy import stats

from vlm_rl.evaluation.statistics import Difference, paired_difference, unpaired_difference
from vlm_rl.evaluation.verdict import LEVEL, Outcome, decide, holm, holm_levels, lacks_seed_spread, p_value

# Three seeds, four questions, as in test_statistics.py: g = 0.7 / 3, a = 1 / 900, b = 1 / 1200, both by hand there.
D = np.array([[0.1, 0.2, 0.3, 0.2], [0.3, 0.1, 0.2, 0.2], [0.2, 0.0, 0.4, 0.6]])


def difference(estimate: float, *, a: float = 0.0001, b: float = 0.0001, seeds: int = 5, questions: int = 101) -> Difference:
    """A paired one with the given variances of the estimate."""
    return Difference(
        estimate=estimate,
        seeds=(seeds,),
        seed_variances=(a * seeds,),
        residual_variances=(0.0,),
        question_variance=b * questions,
        num_questions=questions,
    )


def test_p_is_the_level_whose_interval_just_touches_zero() -> None:
    hand = paired_difference(D, before=np.zeros_like(D))
    p = p_value(hand)
    assert hand.new_questions(confidence=1 - p).low == pytest.approx(0.0, abs=1e-9)
    t_seeds, t_questions = stats.t.isf(p / 2, 2), stats.t.isf(p / 2, 3)
    assert math.sqrt(t_seeds**2 / 900 + t_questions**2 / 1200) == pytest.approx(0.7 / 3)
    assert 0.02 < p < 0.05  # sqrt(T_2^2 / 900 + T_3^2 / 1200) = 0.1703 at 5 %, below g = 0.2333


def test_without_chance_between_questions_p_is_that_of_scipys_t_tests() -> None:
    generator = np.random.default_rng(0)
    before, effect = generator.random((5, 1)), generator.normal(0.1, 0.05, size=(5, 1))
    same_everywhere = paired_difference(np.tile(before + effect, 30), before=np.tile(before, 30))
    assert same_everywhere.variance_questions == pytest.approx(0.0, abs=1e-30)
    assert p_value(same_everywhere) == pytest.approx(stats.ttest_rel(effect[:, 0], np.zeros(5)).pvalue, rel=1e-6)
    arm, reference = generator.normal(0.6, 0.05, size=(4, 1)), generator.normal(0.5, 0.01, size=(3, 1))
    unpaired = unpaired_difference(np.tile(arm, 30), reference=np.tile(reference, 30))
    welch = stats.ttest_ind(arm[:, 0], reference[:, 0], equal_var=False)
    assert p_value(unpaired) == pytest.approx(welch.pvalue, rel=1e-6)


def test_p_is_1_at_no_difference_tiny_far_away_and_missing_where_seeds_tell_nothing() -> None:
    assert p_value(difference(0.0)) == pytest.approx(1.0)
    assert 0 < p_value(difference(1.0, a=1e-16, b=0.0, seeds=1000)) < 1e-99
    assert math.isnan(p_value(difference(0.1, a=0.0)))
    assert math.isnan(p_value(paired_difference(D[:1], before=np.zeros((1, 4)))))


def test_rounding_is_not_taken_for_spread() -> None:
    """0.1 + 0.2 and 0.3 differ by 6e-17: the same gain written in two ways."""
    after = np.array([[0.1 + 0.2] * 4, [0.3] * 4, [0.3] * 4])
    dust = paired_difference(after, before=np.zeros((3, 4)))
    assert 0 < dust.variance_seeds < 1e-30
    assert lacks_seed_spread(dust)
    assert math.isnan(p_value(dust))


def test_holm_by_hand() -> None:
    """0.01 * 3, then 0.02 * 2, then max(0.04, 0.03): never below an earlier one."""
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_each_arm_is_tested_at_the_level_of_its_step_until_one_fails_by_hand() -> None:
    """0.01 < 0.05 / 4, 0.013 < 0.05 / 3, 0.03 > 0.05 / 2: the third and all that follow are held to 0.025."""
    p_values = [0.03, 0.01, math.nan, 0.9, 0.013]
    levels = [0.05 / 2, 0.05 / 4, math.nan, 0.05 / 2, 0.05 / 3]
    np.testing.assert_allclose(holm_levels(p_values), levels)
    np.testing.assert_allclose(holm_levels(p_values, level=0.1), [0.1 / 2, 0.1 / 4, math.nan, 0.1, 0.1 / 3])  # 0.9 fails alone
    assert holm_levels([]) == []


def test_an_interval_at_its_level_leaves_out_0_exactly_where_holm_claims_a_difference() -> None:
    generator, claimed = np.random.default_rng(1), 0
    for _ in range(200):
        after = generator.normal(generator.choice([0.0, 0.0, 0.2], size=(6, 1, 1)), 0.1, size=(6, 4, 30))
        after += generator.normal(0, 0.05, size=(6, 4, 1))
        arms = [paired_difference(scores, before=np.zeros_like(scores)) for scores in after]
        p_values = [p_value(one) for one in arms]
        for one, adjusted_p, level in zip(arms, holm(p_values), holm_levels(p_values), strict=True):
            interval = one.new_questions(confidence=1 - level)
            assert (adjusted_p < LEVEL) == (interval.low > 0 or interval.high < 0)
            claimed += adjusted_p < LEVEL
    assert 100 < claimed < 1100


def test_an_arm_without_a_p_value_is_no_member_of_the_family() -> None:
    adjusted = holm([0.03, math.nan, 0.01])
    assert adjusted[::2] == pytest.approx([0.03, 0.02])
    assert math.isnan(adjusted[1])


def test_significance_comes_first_then_relevance() -> None:
    """Five seeds, 101 questions: the 90 % half-width is sqrt(2.132^2 + 1.660^2) sqrt(a) for a = b, 0.270 at a = 0.01."""
    assert decide(difference(0.01), adjusted_p=0.049, smallest_effect=0.02) is Outcome.IMPROVEMENT
    assert decide(difference(-0.01), adjusted_p=0.049, smallest_effect=0.02) is Outcome.HARM
    small, width = difference(0.005, a=1e-5, b=1e-5), math.hypot(2.131847, 1.660234) * math.sqrt(1e-5)
    assert decide(small, adjusted_p=0.05, smallest_effect=0.005 + width + 1e-7) is Outcome.NO_DIFFERENCE
    assert decide(small, adjusted_p=0.05, smallest_effect=0.005 + width - 1e-7) is Outcome.OPEN
    assert decide(difference(-0.005, a=1e-5, b=1e-5), adjusted_p=0.05, smallest_effect=0.005 + width - 1e-7) is Outcome.OPEN
    assert decide(small, adjusted_p=math.nan, smallest_effect=0.02) is Outcome.NOT_JUDGED
