import time

import numpy as np
import pytest
from scipy import stats

from vlm_rl.evaluation import looks
from vlm_rl.evaluation.looks import error_of_looks

# By quadrature over the exact chain of t statistics, which is Markov where there is no effect.
EXACT = {(3, 5): 0.0861, (3, 5, 10): 0.1203, (3, 4, 5, 6, 7, 8, 9, 10): 0.1668, (3, 4, 5): 0.1010}


@pytest.mark.parametrize(("seeds", "chance"), EXACT.items())
def test_the_error_of_repeated_tests_is_known(seeds: tuple[int, ...], chance: float) -> None:
    assert error_of_looks(seeds) == pytest.approx(chance, abs=0.003)


def test_it_is_that_of_scipys_t_test_repeated() -> None:
    gains = np.random.default_rng(7).standard_normal((20_000, 8))
    claimed = np.any([stats.ttest_1samp(gains[:, :number], 0, axis=1).pvalue < 0.03 for number in (4, 6, 8)], axis=0)
    assert error_of_looks([4, 6, 8], level=0.03) == pytest.approx(claimed.mean(), abs=0.006)  # its standard error is 0.0017


def test_one_look_costs_what_its_level_says_and_two_seeds_are_no_look() -> None:
    assert error_of_looks([5], level=0.01) == 0.01
    assert error_of_looks([2, 3]) == error_of_looks([3]) == 0.05
    assert error_of_looks([1, 2]) == error_of_looks([]) == 0.0


def test_the_order_and_a_look_at_the_same_seeds_change_nothing() -> None:
    assert error_of_looks([5, 3, 5]) == error_of_looks((3, 5))


def test_a_level_shared_by_the_looks_keeps_the_whole_below_five_percent() -> None:
    planned = (3, 5, 10)
    assert 0.04 < error_of_looks(planned, level=0.05 / len(planned)) < 0.05


def test_it_is_quick_and_the_second_question_is_free() -> None:
    looks._share_of_claims.cache_clear()
    started = time.process_time()
    error_of_looks((3, 4, 5, 6, 7, 8, 9, 10))
    first = time.process_time() - started
    error_of_looks((3, 4, 5, 6, 7, 8, 9, 10))
    assert first < 0.2, "planned: 0.1 s on an idle core"
    assert time.process_time() - started - first < 0.001
