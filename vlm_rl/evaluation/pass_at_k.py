"""pass@k from n >= k samples of a question, without bias (Chen et al. 2021, Eq. 1: https://arxiv.org/abs/2107.03374).

The authors of the paper take exactly 8 samples and ask whether any is right; for n = k = 8 both agree, sample by sample.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = int | Sequence[int] | NDArray[np.int64]  # of one question, or of many in any shape
FloatArray = NDArray[np.float64]


def pass_at_k_by_question(num_correct: Counts, *, num_samples: Counts, k: int) -> FloatArray:
    """1 - C(n - c, k) / C(n, k) for each question: the share of the k-subsets of its n samples that hold a right answer.

    In the shape of `num_correct`; questions may differ in how many samples they have.
    """
    return np.asarray(pass_at_1_to_k(num_correct, num_samples=num_samples, k=k)[..., -1])


def pass_at_1_to_k(num_correct: Counts, *, num_samples: Counts, k: int) -> FloatArray:
    """pass@1, ..., pass@k for each question, in a new last axis of size k.

    Drawing without replacement, all of the first j draws are wrong with probability prod_i (n - c - i) / (n - i), i < j:
    factors in [0, 1] only, no binomial coefficient that could overflow.
    """
    correct, samples = np.broadcast_arrays(np.asarray(num_correct)[..., None], np.asarray(num_samples)[..., None])
    if k < 1 or (samples.size and samples.min() < k):
        raise ValueError(f"pass@{k} needs k >= 1 and at least k samples of each question.")
    if correct.size and (correct.min() < 0 or (correct > samples).any()):
        raise ValueError("the number of right answers of a question lies between 0 and its number of samples.")
    drawn_before = np.arange(k)
    wrong_left = np.maximum(samples - correct - drawn_before, 0)
    return np.asarray(1.0 - np.cumprod(wrong_left / (samples - drawn_before), axis=-1))
