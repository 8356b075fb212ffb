"""The pigeonhole bootstrap (Owen 2007, https://arxiv.org/abs/0712.1111) and rliable's aggregates of runs x problem kinds.

Seeds and images are resampled once each, and the weight of a score is the product: whole rows and whole columns are drawn or
left out. For figures and for the interquartile mean only; with few seeds it is too narrow to decide by (statistics.py decides).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from vlm_rl.evaluation.statistics import Interval, Matrix

NUM_DRAWS = 2000
TRIMMED = 0.25  # from each end of all cells: what is left is the middle half

SeedCounts = Int[np.ndarray, "draws seeds"]
QuestionCounts = Int[np.ndarray, "draws questions"]
Draws = Float[np.ndarray, " draws"]
KindMatrices = Float[np.ndarray, "*draws runs kinds"]


def resample(size: int, *, generator: np.random.Generator, num_draws: int = NUM_DRAWS) -> Int[np.ndarray, "draws size"]:
    """How often each of `size` things is drawn when as many are drawn with replacement; one row for each draw."""
    drawn = generator.integers(size, size=(num_draws, size)) + size * np.arange(num_draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=num_draws * size).reshape(num_draws, size)


def resample_images(images: Sequence[str], *, generator: np.random.Generator, num_draws: int = NUM_DRAWS) -> QuestionCounts:
    """How often each question is drawn when images are drawn: as often as its image."""
    names, image_of_question = np.unique(np.asarray(images), return_inverse=True)
    return resample(names.size, generator=generator, num_draws=num_draws)[:, image_of_question]


def bootstrap_means(
    scores: Float[np.ndarray, "*points seeds questions"], *, seeds: SeedCounts, questions: QuestionCounts
) -> Float[np.ndarray, "*points draws"]:
    """The mean score in each draw, for each point of a curve; a score counts as often as its seed times its question."""
    totals = scores @ questions.T.astype(np.float64)  # (*points, seeds, draws)
    return np.asarray((totals * seeds.T).sum(axis=-2) / (seeds.sum(axis=1) * questions.sum(axis=1)))


def kind_matrix(scores: Matrix, *, kinds: Sequence[str]) -> Float[np.ndarray, "runs kinds"]:
    """rliable's shape of data: the mean score of each run on each kind of problem, kinds in alphabetical order."""
    everything = np.ones((1, scores.shape[1]), dtype=np.int64)
    return np.asarray(_means_by_kind(scores, kinds=kinds, questions=everything)[0])


def bootstrap_kind_matrices(
    scores: Matrix, *, kinds: Sequence[str], seeds: SeedCounts, questions: QuestionCounts
) -> Float[np.ndarray, "draws runs kinds"]:
    """`kind_matrix` in each draw: a run stands in as many rows as it was drawn. NaN for a kind without a drawn question."""
    num_draws, num_runs = seeds.shape
    rows = np.repeat(np.tile(np.arange(num_runs), num_draws), seeds.ravel()).reshape(num_draws, num_runs)
    by_kind = _means_by_kind(scores, kinds=kinds, questions=questions)
    return by_kind[np.arange(num_draws)[:, None], rows]


def interquartile_mean(matrices: KindMatrices) -> Float[np.ndarray, "*draws"]:
    """The mean of the middle half of all cells (rliable's IQM): floor(cells / 4) are cut from each end."""
    cells = matrices.reshape(*matrices.shape[:-2], -1)
    return np.asarray(stats.trim_mean(cells, TRIMMED, axis=-1))


def probability_of_improvement(
    arm: Float[np.ndarray, "*draws arm_runs kinds"], *, reference: Float[np.ndarray, "*draws reference_runs kinds"]
) -> Float[np.ndarray, "*draws"]:
    """P(a run of the arm beats a run of the reference on a kind), ties for half, averaged over kinds (rliable's)."""
    ours, theirs = arm[..., :, None, :], reference[..., None, :, :]
    wins = np.where(np.isnan(ours + theirs), np.nan, (ours > theirs) + 0.5 * (ours == theirs))
    return np.asarray(wins.mean(axis=(-3, -2, -1)))


def score_distribution(
    matrices: KindMatrices, *, thresholds: Float[np.ndarray, " thresholds"]
) -> Float[np.ndarray, "*draws thresholds"]:
    """The share of all cells above each threshold (rliable's performance profile); cells that are NaN do not count."""
    cells = matrices.reshape(*matrices.shape[:-2], -1, 1)
    known = ~np.isnan(cells)
    return np.asarray((cells > thresholds).sum(axis=-2) / known.sum(axis=-2))


def percentile_interval(draws: Draws, *, estimate: float, num_seeds: int, confidence: float = 0.95) -> Interval:
    """The middle of the draws around an estimate; draws in which it is not defined (NaN) do not count."""
    tail = (1 - confidence) / 2
    defined = draws[~np.isnan(draws)]
    low, high = np.quantile(defined, [tail, 1 - tail]) if defined.size and num_seeds > 1 else (np.nan, np.nan)
    return Interval(estimate=estimate, low=float(low), high=float(high), num_seeds=num_seeds)


def _means_by_kind(scores: Matrix, *, kinds: Sequence[str], questions: QuestionCounts) -> Float[np.ndarray, "draws runs kinds"]:
    names, kind_of_question = np.unique(np.asarray(kinds), return_inverse=True)
    means = np.full((len(questions), len(scores), names.size), np.nan)
    for kind in range(names.size):
        members = kind_of_question == kind
        counts = questions[:, members]
        totals, drawn = counts @ scores[:, members].T, counts.sum(axis=1, keepdims=True)
        np.divide(totals, drawn, out=means[..., kind], where=drawn > 0)
    return means
