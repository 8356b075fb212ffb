import numpy as np
import pytest

from vlm_rl.evaluation.dynamics import far_from_other_seeds


def runs(*means: float, questions: int = 100) -> np.ndarray:
    """Runs that score the same on every question: no chance of single answers."""
    return np.tile(np.array(means)[:, None], questions)


def test_a_collapsed_run_is_flagged_and_the_other_seeds_are_not() -> None:
    """Ordinary is up to 3 * 5 = 15 points from the median, 0.60."""
    assert far_from_other_seeds(runs(0.62, 0.60, 0.44)).tolist() == [False, False, True]
    assert far_from_other_seeds(runs(0.62, 0.60, 0.46)).tolist() == [False, False, False]


def test_two_collapsed_runs_of_five_do_not_hide_each_other() -> None:
    assert far_from_other_seeds(runs(0.6, 0.62, 0.61, 0.05, 0.1)).tolist() == [False, False, False, True, True]


def test_few_questions_make_a_distance_ordinary() -> None:
    """Four questions: residuals of square sum 2 over 2 * 3 degrees of freedom give a mean the variance 1 / 3 / 4."""
    scores = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [0, 1, 0, 0]], dtype=float)
    residuals = scores - scores.mean(1, keepdims=True) - scores.mean(0) + scores.mean()
    assert (residuals**2).sum() == pytest.approx(2.0)
    assert far_from_other_seeds(scores).tolist() == [False, False, False]  # 0.5 away; ordinary up to 3 sqrt(0.0025 + 1 / 12)
    assert far_from_other_seeds(runs(0.75, 0.75, 0.25, questions=4)).tolist() == [False, False, True]


def test_two_runs_have_no_other_seed_to_be_far_from() -> None:
    assert far_from_other_seeds(runs(0.9, 0.1)).tolist() == [False, False]
