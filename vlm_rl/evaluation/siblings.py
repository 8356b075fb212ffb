"""Which run lies far from the other seeds of its arm. A flag asks a person to look; it changes no verdict and drops no run."""

import numpy as np
from jaxtyping import Bool, Float

from vlm_rl.evaluation.statistics import Matrix, residual_variance

EXPECTED_SPREAD = 0.05  # share: the largest standard deviation over seeds that passes for ordinary
FAR = 3.0  # standard deviations


def far_from_siblings(scores: Matrix) -> Bool[np.ndarray, " seeds"]:
    """Runs further from the median of the arm than seeds that spread by 5 points, and single answers, explain: 15 points or more.

    The median, so that one collapsed run does not hide another. The spread is set and not estimated: among three runs the
    spread of the other two is one number, which a t-test would have to exceed 38-fold. docs/statistics.md holds how often the
    rule cries wolf and how often it finds a collapse. False throughout for fewer than three runs.
    """
    num_seeds, num_questions = scores.shape
    if num_seeds < 3:
        return np.zeros(num_seeds, dtype=bool)
    return far_from_median(scores.mean(axis=1), noise=np.asarray(residual_variance(scores) / num_questions))


def far_from_median(
    seed_means: Float[np.ndarray, "*more seeds"], *, noise: Float[np.ndarray, "*more"]
) -> Bool[np.ndarray, "*more seeds"]:
    """`noise`: the variance that single answers give a run's mean."""
    distance = np.abs(seed_means - np.median(seed_means, axis=-1, keepdims=True))
    return np.asarray(distance > FAR * np.sqrt(EXPECTED_SPREAD**2 + noise)[..., None])
