import itertools
import math

import numpy as np
import pytest

from vlm_rl.evaluation.pass_at_k import pass_at_1_to_k, pass_at_k_by_question


def brute_force(*, num_samples: int, num_correct: int, k: int) -> float:
    """The share of all k-subsets that hold a right sample."""
    subsets = list(itertools.combinations([i < num_correct for i in range(num_samples)], k))
    return sum(map(any, subsets)) / len(subsets)


@pytest.mark.parametrize("num_samples", range(1, 8))
def test_the_estimate_is_the_share_of_subsets_with_a_right_answer(num_samples: int) -> None:
    for k in range(1, num_samples + 1):
        found = pass_at_k_by_question(range(num_samples + 1), num_samples=num_samples, k=k)
        expected = [brute_force(num_samples=num_samples, num_correct=c, k=k) for c in range(num_samples + 1)]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_with_k_samples_it_is_the_authors_any_of_eight_and_questions_may_differ_in_their_number_of_samples() -> None:
    np.testing.assert_array_equal(pass_at_k_by_question([0, 1, 8], num_samples=8, k=8), [0.0, 1.0, 1.0])
    np.testing.assert_allclose(pass_at_k_by_question([1, 1], num_samples=[2, 4], k=1), [0.5, 0.25])


def test_thousands_of_samples_do_not_overflow() -> None:
    exact = 1 - math.comb(9_990, 100) / math.comb(10_000, 100)
    assert pass_at_k_by_question(10, num_samples=10_000, k=100) == pytest.approx(exact, rel=1e-10)


def test_the_curve_is_every_k_averaged_over_questions() -> None:
    curve = pass_at_1_to_k([0, 1, 4], num_samples=4, k=4).mean(axis=0)
    np.testing.assert_allclose(curve, [5 / 12, (0 + 1 / 2 + 1) / 3, (0 + 3 / 4 + 1) / 3, 2 / 3])


@pytest.mark.parametrize(("num_samples", "num_correct", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 1), (4, -1, 1)])
def test_impossible_counts_are_refused(num_samples: int, num_correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="samples"):
        pass_at_k_by_question(num_correct, num_samples=num_samples, k=k)
