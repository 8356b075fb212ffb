"""Means, differences and intervals over a (seeds x questions) matrix. Numbers only: no runs, no files, no plots, no verdicts.

Two sources of chance are kept apart. Seeds are training runs, the rows; questions are evaluation items, the columns. `a` is the
variance of an estimate over seeds, `b` its variance over questions. Scores are shares in [0, 1], and so are all results.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from vlm_rl.evaluation.share import Share, share_of

Matrix = Float[np.ndarray, "seeds questions"]
Vector = Float[np.ndarray, " length"]

LUCKY_MAX_ERROR = 0.00035  # standard error of a lucky maximum, a share: the report prints tenths of a point
LUCKY_MAX_FIRST = 100  # draws from which the number of draws that it takes is estimated
LUCKY_MAX_AT_ONCE = 2**20  # scores of questions held in memory


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with a two-sided interval; NaN ends where the design cannot give one, as with a single seed."""

    estimate: float
    low: float
    high: float
    num_seeds: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far two sets of runs differ on the same questions, with both sources of chance.

    The tuples hold one entry where runs are paired by seed, and two, of the arm and of the reference, where they are not.
    """

    estimate: float  # g
    seeds: tuple[int, ...]  # number of runs
    seed_variances: tuple[float, ...]  # of one run's mean over the questions asked; NaN with a single seed
    residual_variances: tuple[float, ...]  # of one question in one run, beyond what seed and question explain
    question_variance: float  # over questions, of what each differs by in these very runs; NaN with a single question
    num_questions: int  # images, where several questions share one
    share: Share | None = None  # of the runs, where what they are compared with is 0 throughout

    @property
    def variance_seeds(self) -> float:
        """a: of the estimate, over training seeds; NaN with a single seed."""
        return sum(variance / size for variance, size in zip(self.seed_variances, self.seeds, strict=True))

    @property
    def variance_questions(self) -> float:
        """b: of the estimate, over questions, without the noise that each question's average owes to few seeds."""
        noise = sum(residual / size for residual, size in zip(self.residual_variances, self.seeds, strict=True))
        return math.nan if self.num_questions < 2 else max(0.0, (self.question_variance - noise) / self.num_questions)

    @property
    def df_seeds(self) -> float:
        """Degrees of freedom of a: n - 1 for pairs, else Welch's."""
        return float(welch_df(*zip(self.seed_variances, self.seeds, strict=True)))

    @property
    def num_seeds(self) -> int:
        """Of the smaller arm."""
        return min(self.seeds)

    def same_benchmark(self, *, confidence: float = 0.95) -> Interval:
        """g +- t_df sqrt(a): new seeds, these very questions."""
        return self._interval(t_quantile(self.df_seeds, confidence=confidence) ** 2 * self.variance_seeds)

    def new_questions(self, *, confidence: float = 0.95) -> Interval:
        """g +- sqrt(t_df^2 a + t_(Q-1)^2 b): new seeds, and new questions like these."""
        t_seeds = t_quantile(self.df_seeds, confidence=confidence)
        t_questions = t_quantile(float(self.num_questions - 1), confidence=confidence)
        return self._interval(t_seeds**2 * self.variance_seeds + t_questions**2 * self.variance_questions)

    def this_run_only(self, *, confidence: float = 0.95) -> Interval:
        """g +- t_(Q-1) sqrt(variance over questions / Q): these very runs, new questions. All that a single seed can say.

        Nothing is taken off for the noise of few seeds, as it is for b: these runs answer new questions with just that noise.
        Against 0 throughout it is an interval of a share, and that of `share_interval` where t would leave [0, 1] or have no width.
        """
        t_questions = t_quantile(float(self.num_questions - 1), confidence=confidence)
        interval = self._interval(t_questions**2 * self.question_variance / self.num_questions)
        if self.share is None or 0 <= interval.low < interval.high <= 1:
            return interval
        low, high = self.share.ends(confidence=confidence)
        return replace(interval, low=low, high=high)

    def _interval(self, squared_width: float) -> Interval:
        width = math.sqrt(squared_width) if squared_width >= 0 else math.nan
        return Interval(estimate=self.estimate, low=self.estimate - width, high=self.estimate + width, num_seeds=self.num_seeds)


def t_quantile(df: float, *, confidence: float) -> float:
    """The two-sided quantile of Student's t; NaN without degrees of freedom."""
    return float(stats.t.ppf(0.5 + confidence / 2, df)) if df > 0 else math.nan


def mean_interval(values: Sequence[float] | Float[np.ndarray, " seeds"], *, confidence: float = 0.95) -> Interval:
    """Mean over seeds with the two-sided t-interval, df = n - 1. A missing value (NaN) is left out, and n says so."""
    scores = np.asarray(values, dtype=np.float64)
    scores = scores[~np.isnan(scores)]
    num_seeds = scores.size
    if num_seeds == 0:
        return Interval(estimate=math.nan, low=math.nan, high=math.nan, num_seeds=0)
    mean = float(scores.mean())
    spread = float(scores.std(ddof=1)) if num_seeds > 1 else math.nan
    width = t_quantile(float(num_seeds - 1), confidence=confidence) * spread / math.sqrt(num_seeds)
    return Interval(estimate=mean, low=mean - width, high=mean + width, num_seeds=num_seeds)


def share_interval(scores: Matrix, *, images: Sequence[str] | None = None, confidence: float = 0.95) -> Interval:
    """Mean score in [0, 1] of these very runs, with the interval over new questions: Wilson's, see share.py."""
    _check_matrices(scores)
    share = share_of(scores.mean(axis=0), images=images)
    low, high = share.ends(confidence=confidence)
    return Interval(estimate=share.value, low=low, high=high, num_seeds=len(scores))


def paired_difference(after: Matrix, *, before: Matrix, images: Sequence[str] | None = None) -> Difference:
    """Trained runs against the vanilla models of the same seeds: matrices (seeds x questions), rows and columns alike.

    a = var(seed means of the difference) / n, df = n - 1. `images` names the image of each question, for `image_means`.
    """
    _check_matrices(after, before)
    difference = after - before
    is_share = not before.any() and after.min() >= 0 and after.max() <= 1
    sums = image_means(difference, images=images)
    return Difference(
        estimate=float(difference.mean()),
        seeds=(len(difference),),
        seed_variances=(_variance(difference.mean(axis=1)),),
        residual_variances=(residual_variance(sums),),
        question_variance=_variance(sums.mean(axis=0)),
        num_questions=sums.shape[1],
        share=share_of(after.mean(axis=0), images=images) if is_share else None,
    )


def unpaired_difference(
    arm: Float[np.ndarray, "seeds_arm questions"],
    *,
    reference: Float[np.ndarray, "seeds_reference questions"],
    images: Sequence[str] | None = None,
) -> Difference:
    """Two trained arms on the same questions, never paired by seed: a = var_A / n_A + var_B / n_B, Welch's df."""
    _check_matrices(arm, reference)
    sums = [image_means(scores, images=images) for scores in (arm, reference)]
    over_questions = sums[0].mean(axis=0) - sums[1].mean(axis=0)
    return Difference(
        estimate=float(arm.mean() - reference.mean()),
        seeds=(len(arm), len(reference)),
        seed_variances=(_variance(arm.mean(axis=1)), _variance(reference.mean(axis=1))),
        residual_variances=tuple(residual_variance(scores) for scores in sums),
        question_variance=_variance(over_questions),
        num_questions=over_questions.size,
    )


def image_means(scores: Matrix, *, images: Sequence[str] | None) -> Float[np.ndarray, "seeds images"]:
    """Sum within images first: (seeds x questions) -> (seeds x images), scaled so that every row keeps its mean.

    What is summed is the distance to the grand mean, as in clustered standard errors (Miller 2024, https://arxiv.org/abs/2411.00640):
    for images with equally many questions this is the plain sum, for others it does not take the size of an image for a score.
    """
    if images is None:
        return scores
    names, image_of_question = np.unique(np.asarray(images), return_inverse=True)
    grand_mean = scores.mean()
    membership = np.eye(names.size)[image_of_question]  # (questions x images)
    return np.asarray(grand_mean + (scores - grand_mean) @ membership * names.size / scores.shape[1])


def lucky_max(
    num_correct: Int[np.ndarray, " questions"],
    *,
    score_by_correct: Float[np.ndarray, " counts"],
    num_evaluations: int,
    generator: np.random.Generator,
) -> float:
    """The expected maximum of `num_evaluations` evaluations of one unchanged model: what luck alone would show as progress.

    Each evaluation draws every question's n samples again, with replacement, from its n stored ones, of which `num_correct` are
    right; `score_by_correct[c]` scores a question with c right of n. Redrawn samples are less varied than fresh ones, which
    lowers pass@k; so only what the maximum adds to the mean of the draws is taken from them, and added to the measured score.
    NaN for n = 1: one stored sample shows no chance. There are as many draws as LUCKY_MAX_ERROR takes.
    """
    num_samples = score_by_correct.size - 1
    if num_samples < 2 or num_evaluations < 1:
        return math.nan
    share = num_correct / num_samples

    at_once = max(1, LUCKY_MAX_AT_ONCE // (num_evaluations * share.size))

    def luck(num_draws: int) -> Vector:
        sizes = (min(at_once, num_draws - done) for done in range(0, num_draws, at_once))
        right = (generator.binomial(num_samples, share, size=(size, num_evaluations, share.size)) for size in sizes)
        means = np.concatenate([score_by_correct[each].mean(axis=2) for each in right])
        return np.asarray(means.max(axis=1) - means.mean(axis=1))

    drawn = luck(LUCKY_MAX_FIRST)
    more = math.ceil(drawn.var(ddof=1) / LUCKY_MAX_ERROR**2) - LUCKY_MAX_FIRST
    drawn = drawn if more <= 0 else np.concatenate([drawn, luck(more)])
    return min(float(score_by_correct.max()), float(score_by_correct[num_correct].mean() + drawn.mean()))


def welch_df(*arms: tuple[float, int]) -> float:
    """Welch-Satterthwaite for (variance of one run, runs) of each arm; n - 1 for a single arm of pairs.

    Without any spread the smaller arm decides, as it does in the limit.
    """
    if min(size for _, size in arms) < 2:
        return math.nan
    squares = [variance / size for variance, size in arms]
    spread = sum(square**2 / (size - 1) for square, (_, size) in zip(squares, arms, strict=True))
    return sum(squares) ** 2 / spread if spread > 0 else float(min(size for _, size in arms) - 1)


def residual_variance(scores: Matrix) -> float:
    """Residual mean square of the two-way layout; 0 for a single seed, whose noise cannot be told apart."""
    num_seeds, num_questions = scores.shape
    if num_seeds < 2 or num_questions < 2:
        return 0.0
    residuals = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0, keepdims=True) + scores.mean()
    return float((residuals**2).sum() / ((num_seeds - 1) * (num_questions - 1)))


def _check_matrices(*matrices: Float[np.ndarray, "_ _"]) -> None:
    for scores in matrices:
        if scores.ndim != 2 or scores.size == 0 or np.isnan(scores).any():
            raise ValueError(
                f"expected a full (seeds x questions) matrix of scores, got shape {scores.shape} or missing scores."
            )


def _variance(means: Vector) -> float:
    return float(means.var(ddof=1)) if means.size > 1 else math.nan
