"""The calibrated levels of looks: exact where they can be worked out, as in the textbook for large samples, errors as promised in small."""

import json

import numpy as np
import pytest
from scipy import stats

from vlm_rl.evaluation.sequential import boundary
from vlm_rl.evaluation.sequential.boundary import (
    SHARES,
    TABLE,
    calibrated,
    information,
    levels_of_looks,
    p_values_without_effect,
)
from vlm_rl.evaluation.sequential.spending import large_sample_boundaries, spent

LOOKS = (3, 5, 7, 10)


def test_information_grows_with_seeds_and_not_where_all_chance_comes_from_questions() -> None:
    np.testing.assert_allclose(information(LOOKS, share=0.0), [0.3, 0.5, 0.7, 1.0])
    np.testing.assert_allclose(information(LOOKS, share=1.0), 1.0)
    assert information((5, 10), share=0.5)[0] == pytest.approx(2 / 3)  # 1 / (0.5 + 0.5 * 2)


def test_the_first_look_spends_exactly_what_it_may() -> None:
    levels = levels_of_looks(LOOKS, share=0.0, spending="pocock")
    assert levels[0] == pytest.approx(0.05 * np.log1p((np.e - 1) * 0.3), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_with_many_seeds_the_levels_are_those_of_large_samples(spending: boundary.Spending) -> None:
    many, share = (60, 100, 140, 200), 0.0
    p_values = p_values_without_effect(many, share=share, replications=200_000)
    found = calibrated(p_values, spent(information(many, share=share), spending=spending, level=0.05))
    expected = 2 * stats.norm.sf(large_sample_boundaries([0.3, 0.5, 0.7, 1], spending=spending, level=0.05))
    np.testing.assert_allclose(found, expected, atol=0.0015)


@pytest.mark.slow
def test_t_tests_at_these_levels_claim_in_five_per_cent_of_studies_without_an_effect() -> None:
    """Drawn and tested by SciPy, as a person would."""
    levels = levels_of_looks(LOOKS, share=0.0, spending="obrien_fleming")
    gains = np.random.default_rng(7).standard_normal((100_000, 10))
    claims = np.zeros(len(gains), dtype=bool)
    for seeds, level in zip(LOOKS, levels, strict=True):
        claims |= stats.ttest_1samp(gains[:, :seeds], 0.0, axis=1).pvalue < level
    assert claims.mean() == pytest.approx(0.05, abs=0.002)


def test_every_design_of_the_table_has_a_level_for_each_look_and_share() -> None:
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    assert "3,5,7,10 obrien_fleming 0.05" in table
    for key, rows in table.items():
        looks, _, level = key.split()
        assert len(rows) == len(SHARES)
        for row in rows:
            assert len(row) == len(looks.split(","))
            assert min(row) > 0
            assert max(row) <= 1.001 * float(level)  # rounded


@pytest.mark.slow
def test_a_design_that_is_not_in_the_table_is_simulated_and_ends_at_its_whole_level() -> None:
    levels = levels_of_looks((4, 6), share=0.35, spending="pocock", level=0.02)
    assert len(levels) == 2
    assert levels.min() > 0
    assert levels.max() <= 0.02
    assert levels_of_looks((4, 6), share=1.0, spending="pocock", level=0.02).tolist() == [0.02, 0.02]
