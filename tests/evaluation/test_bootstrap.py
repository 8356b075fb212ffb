import importlib.util
import itertools
import sys
import types

import numpy as np
import pytest
from rliable import metrics

from vlm_rl.evaluation.bootstrap import (
    bootstrap_kind_matrices,
    bootstrap_means,
    interquartile_mean,
    kind_matrix,
    percentile_interval,
    probability_of_improvement,
    resample,
    resample_images,
    score_distribution,
)
from vlm_rl.randomness import stream


@pytest.fixture
def library() -> types.ModuleType:
    """rliable.library; it needs arch.bootstrap alone, and arch 7 as a whole does not import beside pandas 3."""
    if "arch" not in sys.modules:
        arch = types.ModuleType("arch")
        spec = importlib.util.find_spec("arch")
        assert spec is not None and spec.submodule_search_locations is not None
        arch.__path__ = list(spec.submodule_search_locations)
        sys.modules["arch"] = arch
    return importlib.import_module("rliable.library")


def runs_by_kinds(*, runs: int, kinds: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 20, size=(runs, kinds)) / 20  # with ties


def test_the_interquartile_mean_by_hand() -> None:
    matrix = np.array([[0.0, 0.5, 0.6], [0.7, 0.2, 1.0], [0.4, 0.3, 0.1]])  # nine cells: two are cut from each end
    assert interquartile_mean(matrix) == pytest.approx((0.2 + 0.3 + 0.4 + 0.5 + 0.6) / 5)
    assert interquartile_mean(np.array([[0.1, 0.2, 0.6]])) == pytest.approx(0.3)  # three cells: nothing is cut


def test_the_probability_of_improvement_by_hand() -> None:
    arm, reference = np.array([[0.5, 0.9], [0.7, 0.2]]), np.array([[0.5, 0.1], [0.6, 0.1], [0.1, 0.9]])
    # kind 1: 0.5 beats one and ties one of three, 0.7 beats three; kind 2: 0.9 beats two and ties one, 0.2 beats two
    assert probability_of_improvement(arm, reference=reference) == pytest.approx((4.5 / 6 + 4.5 / 6) / 2)
    assert probability_of_improvement(reference, reference=arm) == pytest.approx(0.25)


@pytest.mark.parametrize("runs", [1, 5])
def test_aggregates_equal_those_of_rliable(runs: int) -> None:
    arm, reference = runs_by_kinds(runs=runs), runs_by_kinds(runs=4, seed=1)
    assert interquartile_mean(arm) == pytest.approx(metrics.aggregate_iqm(arm), abs=1e-12)
    expected = metrics.probability_of_improvement(arm, reference)
    assert probability_of_improvement(arm, reference=reference) == pytest.approx(expected, abs=1e-12)


def test_aggregates_of_many_draws_are_those_of_each_draw() -> None:
    matrices = np.stack([runs_by_kinds(runs=5, seed=seed) for seed in range(6)])
    reference = np.stack([runs_by_kinds(runs=3, seed=seed) for seed in range(10, 16)])
    np.testing.assert_allclose(interquartile_mean(matrices), [metrics.aggregate_iqm(matrix) for matrix in matrices])
    expected = [metrics.probability_of_improvement(*pair) for pair in zip(matrices, reference, strict=True)]
    np.testing.assert_allclose(probability_of_improvement(matrices, reference=reference), expected)


def test_a_draw_takes_as_many_as_there_are_and_each_equally_often() -> None:
    counts = resample(4, generator=stream(0, "bootstrap"), num_draws=20_000)
    assert (counts.sum(axis=1) == 4).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.03)
    np.testing.assert_allclose(counts.var(axis=0), 4 * 0.25 * 0.75, atol=0.03)  # binomial(4, 1/4)


def test_questions_on_one_image_come_together() -> None:
    counts = resample_images(["b", "a", "b", "c"], generator=stream(0, "bootstrap"), num_draws=500)
    np.testing.assert_array_equal(counts[:, 0], counts[:, 2])
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()  # three images are drawn, whatever the number of questions


def test_the_weights_of_seed_and_question_multiply_by_hand() -> None:
    scores = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 1.0]])
    seeds, questions = np.array([[2, 0], [1, 1]]), np.array([[1, 1, 1], [0, 2, 1]])
    # draw 1: twice the first seed, (1 + 0 + 0.5) / 3; draw 2: (0 x 2 + 0.5) + (1 x 2 + 1) over 2 x 3
    np.testing.assert_allclose(bootstrap_means(scores, seeds=seeds, questions=questions), [0.5, 3.5 / 6])
    curve = bootstrap_means(np.stack([scores, scores / 2]), seeds=seeds, questions=questions)
    np.testing.assert_allclose(curve, [[0.5, 3.5 / 6], [0.25, 3.5 / 12]])


def test_the_variance_of_the_pigeonhole_bootstrap_is_owens_on_every_possible_draw() -> None:
    """All 3^3 x 4^4 draws of a 3 x 4 matrix: squared row effects / 3^2 + column effects / 4^2 + residuals / 12^2."""
    scores = np.array([[0.0, 0.2, 0.9, 1.0], [0.1, 0.5, 0.4, 0.8], [0.7, 0.6, 1.0, 0.3]])

    def every_draw(size: int) -> np.ndarray:
        return np.array([np.bincount(picks, minlength=size) for picks in itertools.product(range(size), repeat=size)])

    rows, columns = every_draw(3), every_draw(4)
    seeds, questions = np.repeat(rows, len(columns), axis=0), np.tile(columns, (len(rows), 1))
    draws = bootstrap_means(scores, seeds=seeds, questions=questions)
    row_effects, column_effects = scores.mean(axis=1) - scores.mean(), scores.mean(axis=0) - scores.mean()
    residuals = scores - scores.mean() - row_effects[:, None] - column_effects
    expected = (row_effects**2).sum() / 9 + (column_effects**2).sum() / 16 + (residuals**2).sum() / 144
    assert draws.mean() == pytest.approx(scores.mean())
    assert draws.var() == pytest.approx(expected)


def test_the_kind_matrix_by_hand() -> None:
    scores = np.array([[1.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 0.5]])
    kinds = ["b", "a", "b", "a"]
    np.testing.assert_allclose(kind_matrix(scores, kinds=kinds), [[0.5, 0.75], [0.25, 0.5]])
    seeds, questions = np.array([[0, 2], [1, 1]]), np.array([[1, 0, 1, 2], [4, 0, 0, 0]])
    (first, second) = bootstrap_kind_matrices(scores, kinds=kinds, seeds=seeds, questions=questions)
    np.testing.assert_allclose(first, [[0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(second, [[np.nan, 1.0], [np.nan, 0.0]])


def test_intervals_over_runs_with_fixed_kinds_equal_rliables_when_it_is_given_our_draws(
    library: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = stream(3, "scores").random((4, 12))
    kinds = [f"kind {number % 3}" for number in range(12)]
    seeds = resample(4, generator=stream(3, "seeds"), num_draws=300)
    rows = iter(seeds)
    matrix = kind_matrix(scores, kinds=kinds)

    def our_draw(bootstrap: object) -> tuple[np.ndarray, np.ndarray]:
        return np.repeat(np.arange(4), next(rows))[:, None], np.arange(3)[None, :]

    monkeypatch.setattr(library.StratifiedBootstrap, "update_indices", our_draw)
    _, interval = library.get_interval_estimates(
        {"arm": matrix}, lambda found: np.array([metrics.aggregate_iqm(found)]), reps=300
    )
    every_question_once = np.ones((300, 12), dtype=np.int64)
    matrices = bootstrap_kind_matrices(scores, kinds=kinds, seeds=seeds, questions=every_question_once)
    found = percentile_interval(interquartile_mean(matrices), estimate=0.0, num_seeds=4)
    np.testing.assert_allclose([found.low, found.high], interval["arm"][:, 0])


def test_the_performance_profile_is_rliables(library: types.ModuleType) -> None:
    matrix, thresholds = runs_by_kinds(runs=5), np.linspace(0, 1, 21)
    expected = [library.run_score_deviation(matrix, threshold) for threshold in thresholds]
    np.testing.assert_allclose(score_distribution(matrix, thresholds=thresholds), expected)


def test_percentiles_are_numpys_and_undefined_draws_do_not_count() -> None:
    draws = np.array([np.nan, *np.arange(101) / 100])
    interval = percentile_interval(draws, estimate=0.5, num_seeds=3, confidence=0.9)
    assert (interval.low, interval.high) == (pytest.approx(0.05), pytest.approx(0.95))
    assert np.isnan(percentile_interval(draws, estimate=0.5, num_seeds=1).low)  # one seed has no spread over seeds
    assert np.isnan(percentile_interval(np.full(3, np.nan), estimate=0.5, num_seeds=3).high)
