"""Token counts put into few words: quantiles, histograms, the largest rows. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHARES = (0.0, 0.5, 0.9, 0.99, 1.0)  # of the rows
NUM_BINS = 10


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Values from `low` to `high`, both included."""

    low: int
    high: int
    count: int


def quantiles(values: np.ndarray, *, shares: Sequence[float] = SHARES) -> list[int]:
    """For each share the smallest value that at least this share of the values does not exceed; so each is one of them."""
    return [int(value) for value in np.quantile(values, shares, method="inverted_cdf")]


def histogram(values: np.ndarray, *, num_bins: int = NUM_BINS) -> list[Bin]:
    """Bins of equal width over whole numbers, from the smallest value on; the last one may reach past the largest."""
    low, high = int(values.min()), int(values.max())
    width = -(-(high - low + 1) // num_bins)
    edges = range(low, high + 1, width)
    counts = np.bincount((values - low) // width, minlength=len(edges))
    return [Bin(low=edge, high=edge + width - 1, count=int(count)) for edge, count in zip(edges, counts, strict=True)]


def largest(values: np.ndarray, ids: Sequence[str], *, count: int) -> list[tuple[str, int]]:
    """The rows with the largest values, largest first; of equal ones the earlier row."""
    order = np.argsort(-values, kind="stable")[:count]
    return [(ids[i], int(values[i])) for i in order]
