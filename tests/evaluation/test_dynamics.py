import functools
import math
import operator

import numpy as np
import pytest
from scipy import stats

from vlm_rl.evaluation.dynamics import (
    LengthBins,
    bin_by_length,
    bottleneck,
    correlation_within_seeds,
    far_from_other_seeds,
    first_and_last_fifth,
    no_length_bins,
    seed_share_of_variance,
)

NAN = math.nan


def bins(lengths: list[int], reflective: list[int], correct: list[int]) -> LengthBins:
    return bin_by_length(np.array(lengths), reflective=np.array(reflective, bool), correct=np.array(correct, bool))


def test_first_and_last_fifth_by_hand() -> None:
    found = first_and_last_fifth(np.array([1.0, 3.0, 9, 9, 9, 9, 9, 9, 4.0, 8.0]))  # two steps are a fifth of ten
    assert (found.first, found.last, found.change) == (2.0, 6.0, 4.0)
    short = first_and_last_fifth(np.array([1.0, 5.0, 3.0]))  # a fifth is at least one step
    assert (short.first, short.last) == (1.0, 3.0)


def test_a_step_without_a_value_does_not_count_and_does_not_move_the_fifths() -> None:
    found = first_and_last_fifth(np.array([NAN, 3.0, 0, 0, 0, 0, 0, 0, NAN, NAN]))
    assert found.first == 3.0
    assert math.isnan(found.last)
    assert math.isnan(first_and_last_fifth(np.array([])).first)


def test_weights_turn_a_mean_of_ratios_into_the_ratio_of_pooled_counts() -> None:
    reflective, right = np.array([1, 9, 5, 5, 5, 5, 5, 5, 0, 4]), np.array([1, 3, 2, 2, 2, 2, 2, 2, 0, 3])  # of 10 responses
    ratios = np.divide(right, reflective, out=np.full(10, NAN), where=reflective > 0)
    found = first_and_last_fifth(ratios, weights=reflective / 10)
    assert found.first == pytest.approx((1 + 3) / (1 + 9))
    assert found.last == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("accuracy", "gain", "epoch"),
    [
        ([0.30, 0.40, 0.45, 0.455, 0.452], 0.01, 2),  # after the third epoch at most half a point more
        ([0.30, 0.40, 0.45, 0.46, 0.452], 0.01, 3),  # a whole point more still counts
        ([0.57, 0.58, 0.58], 0.01, 1),  # 0.58 - 0.57 is a point, although floats say 0.01000000000000009
        ([0.28, 0.29, 0.29], 0.01, 1),  # and 0.29 - 0.28 is one, although they say 0.00999999999999998
        ([0.30, 0.40, 0.50], 0.01, None),  # still gaining when training ended
        ([0.50, 0.30, 0.49], 0.01, 0),  # never gets back to where it was
        ([0.30, 0.40, 0.45, 0.455, 0.452], 0.06, 1),
        ([0.5], 0.01, None),
    ],
)
def test_the_bottleneck_is_the_first_epoch_after_which_no_point_is_gained(
    accuracy: list[float], gain: float, epoch: int | None
) -> None:
    assert bottleneck(np.array(accuracy), gain=gain) == epoch


def test_the_bottleneck_refuses_epochs_that_some_seed_lacks() -> None:
    with pytest.raises(ValueError, match="missing epochs"):
        bottleneck(np.array([0.1, NAN, 0.2]))


def test_correlations_are_averaged_in_fishers_z_by_hand() -> None:
    x = np.array([1.0, 2, 3, 4, 5])
    first, second = np.array([1.0, 3, 2, 5, 4]), np.array([2.0, 1, 3, 5, 4])  # sum of d^2 is 4 for both: rho = 1 - 24/120
    third = np.array([5.0, 1, 2, 3, 4])  # sum of d^2 is 20: rho = 0
    found = correlation_within_seeds([(x, first), (x, second), (x, third)])
    assert found.by_seed == pytest.approx((0.8, 0.8, 0.0))
    z = math.atanh(0.8)  # 1.0986
    mean, half = 2 * z / 3, 4.302653 * (z / math.sqrt(3)) / math.sqrt(3)  # the sd of (z, z, 0) is z / sqrt 3
    assert found.interval.estimate == pytest.approx(math.tanh(mean))
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (math.tanh(mean - half), math.tanh(mean + half)), rel=1e-5
    )
    assert found.interval.num_seeds == 3
    ties = np.array([0.0, 0, 1, 2, 2])
    assert correlation_within_seeds([(x, ties)]).by_seed == pytest.approx((stats.spearmanr(x, ties).statistic,))


def test_a_perfect_correlation_has_a_finite_z_half_way_to_the_next_value() -> None:
    x = np.arange(5.0)
    found = correlation_within_seeds([(x, x), (x, -x), (x, x)])  # next to 1 comes 1 - 6 * 2 / 120 = 0.9: half-way is 0.95
    assert found.by_seed == pytest.approx((1.0, -1.0, 1.0))
    assert found.interval.estimate == pytest.approx(math.tanh(math.atanh(0.95) / 3))


def test_seeds_without_a_correlation_are_left_out_and_n_says_so() -> None:
    x = np.array([1.0, 2, 3, NAN])
    constant, short = np.ones(4), np.array([1.0, NAN, NAN, 4])
    found = correlation_within_seeds([(x, np.array([1.0, 2, 3, 0])), (x, constant), (x, short)])
    assert found.by_seed == (pytest.approx(1.0), pytest.approx(NAN, nan_ok=True), pytest.approx(NAN, nan_ok=True))
    assert found.interval.num_seeds == 1
    assert math.isnan(found.interval.low)


# Shrout & Fleiss 1979, Table 2: six targets, four judges each; their ICC(1,1) is .17 and its F 1.79
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def test_the_share_between_seeds_is_shrout_and_fleiss_icc_1() -> None:
    found = seed_share_of_variance(SHROUT_FLEISS)
    assert found.estimate == pytest.approx(0.17, abs=0.005)
    assert found.high == pytest.approx(0.72, abs=0.005)
    assert found.low == 0.0  # theirs is -.13: a share of variance is not negative


def test_the_share_between_seeds_by_hand() -> None:
    values = np.array([[1.0, 3.0], [11.0, 13.0], [21.0, 23.0]])  # means 2, 12, 22: MSB = 2 * 100; MSW = 2; k = 2
    found = seed_share_of_variance(values)
    assert found.estimate == pytest.approx((200 - 2) / (200 + 2))
    f = stats.f_oneway(*values).statistic
    assert f == pytest.approx(100.0)
    upper, lower = f / stats.f.ppf(0.975, 2, 3), f * stats.f.ppf(0.975, 3, 2)
    assert (found.low, found.high) == pytest.approx(((upper - 1) / (upper + 1), (lower - 1) / (lower + 1)))


def test_no_share_without_two_seeds_two_steps_and_some_variance() -> None:
    for values in (np.ones((1, 5)), np.ones((3, 1)), np.ones((3, 5))):
        assert math.isnan(seed_share_of_variance(values).estimate)
    assert seed_share_of_variance(np.array([[1.0, 1.0], [2.0, 2.0]])).estimate == 1.0


def test_ten_responses_fall_two_by_two_into_quintiles() -> None:
    found = bins([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], [1, 1, 1, 0, 0, 0, 0, 0, 0, 1], [1, 0, 1, 1, 1, 0, 0, 0, 1, 1])
    assert found.num_responses.tolist() == [2, 2, 2, 2, 2]
    assert found.num_reflective.tolist() == [1, 0, 0, 1, 2]
    assert found.num_correct.tolist() == [2, 0, 1, 2, 1]
    assert found.num_reflective_correct.tolist() == [1, 0, 0, 1, 1]
    np.testing.assert_allclose(found.reflection_ratio(), [0.5, 0, 0, 0.5, 1])
    np.testing.assert_allclose(found.correct_ratio_in_reflection_texts(), [1, NAN, NAN, 1, 0.5])
    np.testing.assert_allclose(found.correct_ratio_in_no_reflection_texts(), [1, 0, 0.5, 1, NAN])


def test_equal_lengths_stay_in_the_quintile_of_the_middle_of_their_ranks() -> None:
    # six of ten are equally long, ranks 3 to 8: their middle, 5.5 of 10, lies in the third fifth
    assert bins([1, 2, 5, 5, 5, 5, 5, 5, 8, 9], [0] * 10, [0] * 10).num_responses.tolist() == [2, 0, 6, 0, 2]
    assert bins([7] * 4, [1] * 4, [0] * 4).num_reflective.tolist() == [0, 0, 4, 0, 0]
    assert bins([], [], []).num_responses.tolist() == [0] * 5


def test_steps_pool_by_adding_counts_each_cut_at_its_own_quintiles() -> None:
    short, long = bins([1, 2, 3, 4, 5], [1, 0, 0, 0, 0], [1] * 5), bins([101, 102, 103, 104, 105], [0, 0, 0, 0, 1], [0] * 5)
    pooled = functools.reduce(operator.add, [short, long], no_length_bins())
    assert pooled.num_responses.tolist() == [2] * 5
    np.testing.assert_allclose(pooled.reflection_ratio(), [0.5, 0, 0, 0, 0.5])  # as often among the short as among the long


def runs(*means: float, questions: int = 100) -> np.ndarray:
    """Runs that score the same on every question: no chance of single answers."""
    return np.tile(np.array(means)[:, None], questions)


@pytest.mark.parametrize(
    ("means", "far"),
    [
        ((0.62, 0.60, 0.44), [False, False, True]),  # ordinary is up to 3 * 5 = 15 points from the median, 0.60
        ((0.62, 0.60, 0.46), [False, False, False]),
        ((0.6, 0.62, 0.61, 0.05, 0.1), [False, False, False, True, True]),  # two collapsed runs do not hide each other
        ((0.9, 0.1), [False, False]),  # two runs have no other seed to be far from
    ],
)
def test_a_collapsed_run_is_far_from_the_other_seeds(means: tuple[float, ...], far: list[bool]) -> None:
    assert far_from_other_seeds(runs(*means)).tolist() == far


def test_few_questions_make_a_distance_ordinary() -> None:
    """Four questions: residuals of square sum 2 over 2 * 3 degrees of freedom give a mean the variance 1 / 3 / 4."""
    scores = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [0, 1, 0, 0]], dtype=float)
    assert far_from_other_seeds(scores).tolist() == [False, False, False]  # 0.5 away; ordinary up to 3 sqrt(0.0025 + 1 / 12)
    assert far_from_other_seeds(runs(0.75, 0.75, 0.25, questions=4)).tolist() == [False, False, True]
