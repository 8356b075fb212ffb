import math

import numpy as np
import pytest
from scipy import stats

from vlm_rl.evaluation.statistics import lucky_max, mean_interval, paired_difference, unpaired_difference

# Three seeds, four questions. Seed means 0.2, 0.2, 0.3; question means 0.2, 0.1, 0.3, 1/3; grand mean 0.7/3.
D = np.array([[0.1, 0.2, 0.3, 0.2], [0.3, 0.1, 0.2, 0.2], [0.2, 0.0, 0.4, 0.6]])
ZERO = np.zeros_like(D)
QUARTERS = np.array([0, 0.25, 0.5, 0.75, 1])
T_2, T_3 = 4.302652729911275, 3.182446305284263  # two-sided 95 % quantiles of t, as in printed tables


def test_the_t_interval_by_hand_and_by_scipy() -> None:
    interval = mean_interval([0.5, 0.6, 0.7])
    assert interval.estimate == pytest.approx(0.6)
    assert interval.high - interval.estimate == pytest.approx(T_2 * 0.1 / math.sqrt(3))
    assert (interval.low, interval.high) == pytest.approx(stats.t.interval(0.95, 2, loc=0.6, scale=0.1 / math.sqrt(3)))
    assert interval.num_seeds == 3


def test_one_seed_has_a_mean_and_no_interval() -> None:
    interval = mean_interval([0.5])
    assert interval.estimate == 0.5
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    nothing = mean_interval([])
    assert math.isnan(nothing.estimate) and nothing.num_seeds == 0


def test_a_missing_value_is_left_out_and_n_says_so() -> None:
    assert mean_interval([0.5, math.nan, 0.7]) == mean_interval([0.5, 0.7])


def test_the_paired_difference_by_hand() -> None:
    difference = paired_difference(D, before=ZERO)
    assert difference.estimate == pytest.approx(0.7 / 3)
    assert difference.variance_seeds == pytest.approx((0.01 / 3) / 3)  # var(0.2, 0.2, 0.3) = 0.02 / 3 / 2
    assert (difference.df_seeds, difference.num_seeds, difference.num_questions) == (2, 3, 4)
    # The two-way table: what neither seeds nor questions explain is residual, with 2 * 3 degrees of freedom.
    total = (D**2).sum() - 12 * (0.7 / 3) ** 2
    rows = 4 * ((0.2 - 0.7 / 3) ** 2 * 2 + (0.3 - 0.7 / 3) ** 2)
    question_means = np.array([0.2, 0.1, 0.3, 1 / 3])
    columns = 3 * ((question_means - 0.7 / 3) ** 2).sum()
    residual_mean_square = (total - rows - columns) / 6
    by_hand = ((question_means - 0.7 / 3) ** 2).sum() / 3 / 4 - residual_mean_square / (3 * 4)
    assert difference.variance_questions == pytest.approx(by_hand)
    assert by_hand == pytest.approx(1 / 1200)


def test_both_intervals_by_hand() -> None:
    difference = paired_difference(D, before=ZERO)
    same, new = difference.same_benchmark(), difference.new_questions()
    assert same.high - same.estimate == pytest.approx(T_2 * math.sqrt(1 / 900))
    assert new.high - new.estimate == pytest.approx(math.sqrt(T_2**2 / 900 + T_3**2 / 1200))


def test_the_paired_interval_is_scipys_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    after, before = generator.random((5, 40)), generator.random((5, 40))
    interval = paired_difference(after, before=before).same_benchmark()
    expected = stats.ttest_rel(after.mean(axis=1), before.mean(axis=1)).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_unpaired_arms_get_welchs_interval_as_scipy_has_it() -> None:
    generator = np.random.default_rng(1)
    arm, reference = generator.random((3, 40)), 0.3 * generator.random((5, 40))
    difference = unpaired_difference(arm, reference=reference)
    expected = stats.ttest_ind(arm.mean(axis=1), reference.mean(axis=1), equal_var=False)
    assert difference.df_seeds == pytest.approx(expected.df)
    interval, by_scipy = difference.same_benchmark(), expected.confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((by_scipy.low, by_scipy.high))


def test_unpaired_question_variance_takes_off_the_noise_of_both_arms() -> None:
    generator = np.random.default_rng(2)
    effect = generator.normal(0, 0.2, size=200)
    arm = 0.5 + effect + generator.normal(0, 0.3, size=(400, 200))
    reference = 0.4 + generator.normal(0, 0.3, size=(400, 200))
    difference = unpaired_difference(arm, reference=reference)
    assert difference.variance_questions == pytest.approx(effect.var(ddof=1) / 200, rel=0.1)


def test_questions_on_one_image_are_one_cluster() -> None:
    one_each = paired_difference(D, before=ZERO, images=["p", "q", "r", "s"])
    assert one_each.variance_questions == pytest.approx(paired_difference(D, before=ZERO).variance_questions)
    pairs = paired_difference(D, before=ZERO, images=["p", "p", "q", "q"])
    by_image = np.array([[0.15, 0.25], [0.2, 0.2], [0.1, 0.5]])  # sums of two questions, over two
    assert pairs.num_questions == 2
    assert pairs.variance_questions == pytest.approx(paired_difference(by_image, before=np.zeros((3, 2))).variance_questions)
    assert pairs.variance_questions == pytest.approx(1 / 300)
    assert pairs.estimate == pytest.approx(0.7 / 3)


def test_images_of_unequal_size_do_not_take_their_size_for_a_score() -> None:
    same_everywhere = paired_difference(np.full((3, 5), 0.4), before=np.zeros((3, 5)), images=["p", "p", "p", "q", "r"])
    assert same_everywhere.estimate == pytest.approx(0.4)
    assert same_everywhere.variance_questions == pytest.approx(0.0)


def test_one_seed_speaks_of_its_questions_only() -> None:
    difference = paired_difference(D[:1], before=ZERO[:1])
    interval = difference.this_run_only()
    expected = stats.t.interval(0.95, 3, loc=0.2, scale=stats.sem(D[0]))
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert math.isnan(difference.same_benchmark().low)
    assert math.isnan(difference.new_questions().low)


def test_one_run_beside_several_means_these_very_runs_so_that_their_noise_stays_in() -> None:
    """Against the mean of three seeds: D[0] less question means 0.2, 0.1, 0.3, 1/3 is -0.1, 0.1, 0, -2/15."""
    difference = unpaired_difference(D[:1], reference=D)
    by_question = np.array([-0.1, 0.1, 0.0, -2 / 15])
    interval = difference.this_run_only()
    expected = stats.t.interval(0.95, 3, loc=by_question.mean(), scale=stats.sem(by_question))
    assert (interval.low, interval.high) == pytest.approx(expected)
    # b is less by the residual mean square over 3 seeds and 4 questions, which the paired test above has by hand.
    noise = paired_difference(D, before=ZERO).residual_variances[0] / 3
    assert noise > 0
    assert difference.variance_questions == pytest.approx((by_question.var(ddof=1) - noise) / 4)


def test_a_matrix_with_a_missing_score_is_refused() -> None:
    with pytest.raises(ValueError, match=r"full \(seeds x questions\) matrix"):
        paired_difference(np.array([[0.1, math.nan]]), before=np.zeros((1, 2)))


def test_the_parts_of_chance_are_kept_apart_by_arm() -> None:
    pairs, arms = paired_difference(D, before=ZERO), unpaired_difference(D, reference=0.5 * D[:2])
    assert (pairs.seeds, arms.seeds) == ((3,), (3, 2))
    assert pairs.seed_variances == pytest.approx((0.01 / 3,))
    assert arms.seed_variances == pytest.approx((0.01 / 3, 0.0))  # 0.2 and 0.2, halved
    assert pairs.residual_variances == pytest.approx(arms.residual_variances[:1])


def test_the_lucky_maximum_of_two_coin_flips_by_hand() -> None:
    """One question, 1 right of 2 samples: the score is 0, 1/2, 1 with 1/4, 1/2, 1/4; the maximum of two has mean 11/16."""
    generator = np.random.default_rng(3)
    drawn = [
        lucky_max(np.array([1]), score_by_correct=np.array([0.0, 0.5, 1.0]), num_evaluations=2, generator=generator)
        for _ in range(50)
    ]
    assert np.mean(drawn) == pytest.approx(11 / 16, abs=0.01)  # 10,000 draws of a spread below 0.36


@pytest.mark.parametrize("questions", [20, 300])
def test_a_lucky_maximum_is_exact_enough_for_the_digits_that_are_printed(questions: int) -> None:
    """Drawn 40 times with other random numbers, its standard deviation is below 0.05 points."""
    correct = np.resize([0, 1, 2, 3, 4], questions)
    drawn = [
        lucky_max(correct, score_by_correct=QUARTERS, num_evaluations=10, generator=np.random.default_rng(seed))
        for seed in range(40)
    ]
    assert 0 < np.std(drawn, ddof=1) < 0.0005


def test_redrawing_stored_samples_does_not_lower_pass_at_8() -> None:
    """With 1 right of 8 a question counts as solved; redrawn, a third would not. That is no luck."""
    generator = np.random.default_rng(5)
    solved = np.array([0.0] + [1.0] * 8)
    assert lucky_max(np.ones(50, dtype=int), score_by_correct=solved, num_evaluations=1, generator=generator) == pytest.approx(
        1.0
    )
    half = np.array([0, 1] * 50)
    lucky = lucky_max(half, score_by_correct=solved, num_evaluations=6, generator=generator)
    assert 0.5 < lucky < 0.6  # an evaluation's standard deviation is sqrt(50 * 0.34 * 0.66) / 100 = 0.033


def test_one_evaluation_has_no_luck_and_one_stored_sample_no_control() -> None:
    generator = np.random.default_rng(4)
    alone = lucky_max(np.full(500, 2), score_by_correct=QUARTERS, num_evaluations=1, generator=generator)
    assert alone == pytest.approx(0.5, abs=1e-12)
    assert math.isnan(
        lucky_max(np.array([1, 0]), score_by_correct=np.array([0.0, 1.0]), num_evaluations=6, generator=generator)
    )
    assert lucky_max(np.array([4, 0]), score_by_correct=QUARTERS, num_evaluations=9, generator=generator) == 0.5
