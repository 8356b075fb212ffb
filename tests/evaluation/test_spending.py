"""Spending and large-sample boundaries, held against R's rpact 3.3.4: getDesignGroupSequential(typeOfDesign, ...), sided=1."""

import numpy as np
import pytest

from vlm_rl.evaluation.sequential.spending import Spending, crossing, large_sample_boundaries, spent

RPACT: list[tuple[Spending, float, list[float], list[float]]] = [  # alpha of one side, information, criticalValues
    ("obrien_fleming", 0.025, [0.25, 0.5, 0.75, 1], [4.33263, 2.96313, 2.35904, 2.01409]),
    ("obrien_fleming", 0.0125, [0.2, 0.4, 0.6, 0.8, 1], [5.46333, 3.78005, 3.02696, 2.58792, 2.29597]),
    ("obrien_fleming", 0.00625, [0.3, 0.5, 0.7, 1], [4.85670, 3.69494, 3.07697, 2.51827]),
    ("obrien_fleming", 0.025, [0.1, 0.35, 0.6, 0.95, 1], [6.99135, 3.61279, 2.67324, 2.04838, 2.07524]),
    ("pocock", 0.025, [0.2, 0.4, 0.6, 0.8, 1], [2.43798, 2.42681, 2.41019, 2.39665, 2.38600]),
    ("pocock", 0.0125, [0.3, 0.5, 0.7, 1], [2.56246, 2.66088, 2.66415, 2.60564]),
    ("pocock", 0.00625, [0.5, 1], [2.66271, 2.73429]),
]


@pytest.mark.parametrize(("spending", "alpha", "information", "expected"), RPACT)
def test_boundaries_are_those_of_rpact(
    spending: Spending, alpha: float, information: list[float], expected: list[float]
) -> None:
    found = large_sample_boundaries(information, spending=spending, level=2 * alpha)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_they_are_those_that_were_published_for_five_looks() -> None:
    """Lan and DeMets's O'Brien-Fleming-like boundary, two-sided 5 %, as in Jennison and Turnbull (2000)."""
    found = large_sample_boundaries([0.2, 0.4, 0.6, 0.8, 1], spending="obrien_fleming", level=0.05)
    np.testing.assert_allclose(found, [4.877, 3.357, 2.680, 2.290, 2.031], atol=1e-3)


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_all_of_the_level_is_spent_at_the_end_and_less_before(spending: Spending) -> None:
    amounts = spent([0.1, 0.3, 0.9, 1.0], spending=spending, level=0.05)
    assert (np.diff(amounts) > 0).all()
    assert amounts[-1] == pytest.approx(0.05)


def test_crossing_agrees_with_drawn_paths() -> None:
    information, boundaries, drift = [0.3, 0.5, 1.0], [2.5, 2.2, 2.0], 1.5
    steps = np.diff([0.0, *information])
    paths = (np.random.default_rng(0).standard_normal((400_000, 3)) * np.sqrt(steps) + drift * steps).cumsum(axis=1)
    z = paths / np.sqrt(information)
    crossed = np.abs(z) > boundaries
    first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), 3)
    found = crossing(boundaries, information=information, drift=drift)
    for look in range(3):
        here = first == look
        assert found.above[look] == pytest.approx((here & (z[:, look] > 0)).mean(), abs=2e-3)
        assert found.below[look] == pytest.approx((here & (z[:, look] < 0)).mean(), abs=1e-3)
