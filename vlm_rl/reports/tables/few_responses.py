"""A ratio among responses of a kind says something only where there are enough of them: two responses are no share."""

from collections.abc import Sequence

import numpy as np

from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.figures.panels import FloatArray
from vlm_rl.reports.phrase import told

FEWEST_RESPONSES = 20  # of all seeds together
FEWEST_SEEDS = 3  # that wrote any; all of them where an arm has fewer
TOO_FEW = told("too_few", responses=FEWEST_RESPONSES, seeds=FEWEST_SEEDS)


def mean_if_enough(values: Sequence[float] | FloatArray, *, counts: Sequence[int]) -> Interval:
    """Mean over seeds of a ratio among `counts` responses of each; missing where those are too few."""
    num_seeds = np.count_nonzero(counts)
    enough = sum(counts) >= FEWEST_RESPONSES and num_seeds >= min(FEWEST_SEEDS, len(counts))
    return mean_interval(values if enough else [])
