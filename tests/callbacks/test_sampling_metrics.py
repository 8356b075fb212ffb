"""What a generation step reports of the groups that it chose from."""

import pytest

from vlm_rl.algorithms.dynamic_sampling import SelectionCounts
from vlm_rl.callbacks.recorder import sampling_metrics


@pytest.mark.parametrize(
    ("differing", "missing", "fell_short"),
    [(16, 0, 0.0), (15, 1, 1.0)],  # of 24 groups, where an update learns from 16
)
def test_groups_that_differ_those_that_are_missing_and_how_often_are_reported(
    differing: int, missing: int, fell_short: float
) -> None:
    counts = SelectionCounts(differing=differing, missing=missing, thrown_away=8, thrown_away_tokens=300)
    assert sampling_metrics(counts) == {
        "sampling/differing_groups": differing,
        "sampling/missing_groups": missing,
        "sampling/fell_short": fell_short,
        "sampling/thrown_away_groups": 8,
    }
    assert sampling_metrics(None) == {}
