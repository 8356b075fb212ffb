"""Quantiles, histograms and largest rows, worked out by hand."""

import numpy as np
import pytest

from vlm_rl.preflight.data_page import Bin, bars, histogram, largest, quantiles

TEN = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 35])  # sorted: 1 1 2 3 4 5 5 6 9 35


def test_quantiles_are_values_that_occur() -> None:
    """Half of ten values is five of them: the fifth is 4. 90 % is nine: 9. 99 % is all ten: 35."""
    assert quantiles(TEN) == [1, 4, 9, 35, 35]
    assert quantiles(np.array([7])) == [7, 7, 7, 7, 7]


def test_bins_have_equal_widths_and_hold_every_value() -> None:
    """1 to 35 are 35 whole numbers, in five bins of 7: 1-7 has eight of the values, 8-14 the nine, 29-35 the 35."""
    bins = histogram(TEN, num_bins=5)
    assert bins == [
        Bin(low=1, high=7, count=8),
        Bin(low=8, high=14, count=1),
        Bin(low=15, high=21, count=0),
        Bin(low=22, high=28, count=0),
        Bin(low=29, high=35, count=1),
    ]


def test_few_different_values_get_a_bin_each() -> None:
    assert histogram(np.array([5, 5, 6]), num_bins=10) == [Bin(low=5, high=5, count=2), Bin(low=6, high=6, count=1)]
    assert histogram(np.array([4, 4]), num_bins=10) == [Bin(low=4, high=4, count=2)]


@pytest.mark.parametrize("num_bins", [1, 3, 10])
def test_no_value_is_lost(num_bins: int) -> None:
    values = np.random.default_rng(0).integers(10, 5_000, size=1_000)
    bins = histogram(values, num_bins=num_bins)
    assert len(bins) <= num_bins
    assert [member.count for member in bins] == [int(((values >= b.low) & (values <= b.high)).sum()) for b in bins]
    assert sum(member.count for member in bins) == 1_000


def test_the_largest_rows_are_named_and_ties_go_to_the_earlier_row() -> None:
    assert largest(TEN, list("abcdefghij"), count=4) == [("j", 35), ("f", 9), ("h", 6), ("e", 5)]


def test_a_full_bar_is_forty_signs_and_a_bin_that_is_not_empty_has_at_least_a_thin_one() -> None:
    """Of 400 values 399 are 1 and one is 2: 40 signs x 1 / 399 rounds to none."""
    lines = bars(np.array([1] * 399 + [3]), title="t").splitlines()
    assert lines == ["t", "  1  " + "█" * 40 + " 399", "  2   0", "  3  ▏ 1"]
