"""The interval of one model's accuracy, by hand, by SciPy's Wilson interval, and by a small simulation."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from vlm_rl.evaluation.evaluator import describe
from vlm_rl.evaluation.reflection import WholeWords
from vlm_rl.evaluation.share import share_of
from vlm_rl.evaluation.statistics import Interval, paired_difference, share_interval

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def coverage() -> Iterator[Any]:
    """The script as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import share_coverage

        yield share_coverage
    finally:
        sys.path.remove(str(BENCHMARKS))


def answers(right: int, asked: int) -> np.ndarray:
    """Of one run."""
    return np.array([[1.0] * right + [0.0] * (asked - right)])


def against_nothing(scores: np.ndarray, images: list[str] | None = None) -> Interval:
    """The other form of the same question."""
    return paired_difference(scores, before=np.zeros_like(scores), images=images).this_run_only()


COUNTS = [(0, 1), (1, 1), (1, 2), (3, 4), (10, 10), (0, 100), (99, 100), (250, 600)]


@pytest.mark.parametrize(("right", "asked"), COUNTS)
def test_right_or_wrong_answers_get_wilsons_interval_exactly(right: int, asked: int) -> None:
    interval = share_interval(answers(right, asked))
    expected = stats.binomtest(right, asked).proportion_ci(0.95, method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    assert interval.high - interval.low > 0.005
    if right in (0, asked) or asked < 5:  # where a t-interval would leave [0, 1] or have no width
        assert against_nothing(answers(right, asked)) == interval


def test_ten_of_ten_by_hand() -> None:
    """(1 + z^2 / 20 - z sqrt(z^2 / 400)) / (1 + z^2 / 10) = 1 / 1.38415."""
    interval = share_interval(answers(10, 10))
    assert (interval.low, interval.high) == (pytest.approx(0.7225, abs=1e-4), 1.0)
    nothing = share_interval(answers(0, 10))
    assert (nothing.low, nothing.high) == (0.0, pytest.approx(0.2775, abs=1e-4))


def test_a_difference_from_nothing_stays_a_t_interval_where_that_is_one() -> None:
    scores = answers(40, 100)
    expected = stats.t.interval(0.95, 99, loc=0.4, scale=stats.sem(scores[0]))
    interval = against_nothing(scores)
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_a_real_difference_is_no_share() -> None:
    before = answers(1, 4)
    assert paired_difference(answers(4, 4), before=before).share is None
    assert paired_difference(-answers(4, 4), before=np.zeros((1, 4))).share is None
    assert paired_difference(2 * answers(4, 4), before=np.zeros((1, 4))).share is None


def test_all_right_on_few_images_counts_the_images() -> None:
    """20 questions on 4 images: as 4 of 4."""
    images = [f"image-{number // 5}" for number in range(20)]
    assert share_of(np.ones(20), images=images).num_effective == pytest.approx(4)
    by_image, four = share_interval(np.ones((1, 20)), images=images), share_interval(np.ones((1, 4)))
    assert (by_image.low, by_image.high) == pytest.approx((four.low, four.high))


def test_images_of_unequal_size_count_by_kish() -> None:
    """One image with 9 questions and one with 1: 10^2 / (81 + 1) answers, if all are right."""
    assert share_of(np.ones(10), images=["a"] * 9 + ["b"]).num_effective == pytest.approx(100 / 82)
    assert share_of(np.array([1.0, 0.0, 1.0]), images=["a"] * 3).num_effective == pytest.approx(1)


def test_samples_that_agree_are_worth_one_question_and_samples_that_vary_more() -> None:
    """Ten questions, half of them right. All samples equal: ten answers. All questions at 1/2: 10 (10 / 4 + 1) / (0 + 1) = 35."""
    assert share_of(np.array([1.0, 0.0] * 5)).num_effective == pytest.approx(10)
    assert share_of(np.full(10, 0.5)).num_effective == pytest.approx(35)
    assert share_of(np.array([0.25, 0.75] * 5)).num_effective == pytest.approx(10 * 3.5 / (10 / 16 + 1))


def test_several_runs_are_these_very_runs() -> None:
    runs = np.array([[1.0, 1, 0, 1], [1, 0, 0, 1]])
    interval, averaged = share_interval(runs), share_interval(runs.mean(axis=0, keepdims=True))
    assert (interval.low, interval.high, interval.num_seeds) == (averaged.low, averaged.high, 2)


def test_missing_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="missing scores"):
        share_interval(np.array([[1.0, np.nan]]))


def test_an_evaluation_says_how_little_four_questions_show() -> None:
    samples = pa.table(
        {
            "row_id": [f"row-{number // 2}" for number in range(8)],
            "image_id": ["one", "one", "one", "one", "two", "two", "", ""],
            "accuracy": [1.0] * 8,
            "finish_reason": ["stop"] * 8,
            "verdict": ["correct"] * 8,
            "response_length": [3] * 8,
            "response": ["5"] * 8,
        }
    )
    described = describe(samples, k=1, reflection=WholeWords())
    num = 16 / (4 + 1 + 1)  # two questions on an image, one on another, one without a name
    assert (described.num_questions, described.num_clusters) == (4, 3)
    far = 1.96**2 / num / (1 + 1.96**2 / num)
    assert (described.accuracy.low, described.accuracy.high) == pytest.approx((1 - far, 1.0), abs=1e-4)


@pytest.mark.slow
def test_the_simulation_of_coverage_is_of_the_projects_own_interval_and_its_bars_hold_with_300_replications(
    coverage: Any,
) -> None:
    """Lowest bar widened by three standard errors of 300 replications; the full figures stand in docs/statistics.md."""
    for number, cell in enumerate(list(coverage.cells())[::74]):
        sizes = cell.sizes()
        scores = coverage.draw(cell, replications=5, generator=np.random.default_rng(number))
        low, high = coverage.ends(scores, sizes=sizes)
        images = [str(name) for name in np.repeat(np.arange(len(sizes)), sizes)]
        alone = [share_interval(row[None], images=images) for row in scores]
        np.testing.assert_allclose(low, [interval.low for interval in alone], atol=1e-12)
        np.testing.assert_allclose(high, [interval.high for interval in alone], atol=1e-12)
    chosen = [(number, cell) for number, cell in enumerate(coverage.cells()) if cell.questions <= 100][::3]
    measured = [coverage.measure(number, cell, replications=300) for number, cell in chosen]
    assert len(measured) > 150
    assert np.mean([one.coverage for one in measured]) > coverage.LEAST_MEAN
    assert min(one.coverage for one in measured) > coverage.LEAST - 0.06
    assert list(coverage.missed_bars([coverage.Measured(cell=chosen[0][1], coverage=0.5, width=0.1, ideal_width=0.1)]))
