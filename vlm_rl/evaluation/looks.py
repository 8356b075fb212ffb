"""What it costs to test again whenever a seed has been added: a chance of error above the level that each test has by itself."""

import functools
from collections.abc import Sequence

import numpy as np
from scipy import special

from vlm_rl.evaluation.verdict import FEWEST_SEEDS, LEVEL

REPLICATIONS = 100_000  # leaves a standard error of 0.12 points at 16 %


def error_of_looks(seeds: Sequence[int], *, level: float = LEVEL) -> float:
    """The chance, a share, that a t test at any of these numbers of seeds claims something where there is no effect.

    A later look has all seeds of the earlier ones. Each is a fresh two-sided test at `level` with df = n - 1; seeds are normal and the
    only source of chance (the verdict, which adds that of questions, errs slightly less). Below FEWEST_SEEDS there is no verdict, so no
    look; no look gives 0, one gives `level`. These are the repeated significance tests of Armitage, McPherson and Rowe (1969,
    https://doi.org/10.2307/2343787), here with a variance estimated at each look; simulated with a fixed seed, exact to 0.3 points.
    """
    looks = tuple(sorted({number for number in seeds if number >= FEWEST_SEEDS}))
    return level * len(looks) if len(looks) < 2 else _share_of_claims(looks, level)


@functools.cache
def _share_of_claims(looks: tuple[int, ...], level: float) -> float:
    generator = np.random.default_rng(0)
    total, squares = np.zeros(REPLICATIONS), np.zeros(REPLICATIONS)
    claimed = np.zeros(REPLICATIONS, dtype=bool)
    for number in range(1, max(looks) + 1):
        gains = generator.standard_normal(REPLICATIONS)
        total += gains
        squares += gains**2
        if number in looks:
            # t^2 = n mean^2 / variance, with variance = (squares - total^2 / n) / (n - 1)
            bar = special.stdtrit(number - 1, 1 - level / 2) ** 2
            claimed |= total**2 * (number - 1 + bar) > bar * number * squares
    return float(claimed.mean())
