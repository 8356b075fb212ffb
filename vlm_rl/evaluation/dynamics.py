"""What training did to the model, from plain arrays: start and end, bottleneck, seed sensitivity, correlation, length held fixed.

The steps of one run are not independent. So a number is computed for each seed, and intervals are over seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy import stats

from vlm_rl.evaluation.statistics import Interval, Matrix, mean_interval, residual_variance

NUM_QUINTILES = 5
Quintiles = Float[np.ndarray, " quintiles"]
Steps = Float[np.ndarray, " steps"]  # one value for each generation step (or epoch) of one run, NaN where it has none
OfSeed = Float[np.ndarray, " _"]  # the same of one of several seeds, which may have come to different steps
EXPECTED_SPREAD = 0.05  # share: the largest standard deviation over seeds that passes for ordinary
FAR = 3.0  # standard deviations


@dataclass(frozen=True, kw_only=True)
class Fifths:
    """Where a run began and where it ended: means over the first and the last fifth of its steps, at least one step each."""

    first: float
    last: float

    @property
    def change(self) -> float:
        """Last minus first."""
        return self.last - self.first


@dataclass(frozen=True, kw_only=True)
class SeedCorrelation:
    """A correlation within each seed, and its interval over seeds."""

    by_seed: tuple[float, ...]  # Spearman's rho of each seed; NaN where it is not defined
    interval: Interval  # of the typical seed; a t-interval over the defined seeds in Fisher's z, turned back


@dataclass(frozen=True, kw_only=True)
class LengthBins:
    """The four counts of Table 2 by quintile of response length, for one generation step; sums over steps hold length fixed."""

    num_responses: Int[np.ndarray, " quintiles"]  # shortest fifth first
    num_reflective: Int[np.ndarray, " quintiles"]
    num_correct: Int[np.ndarray, " quintiles"]
    num_reflective_correct: Int[np.ndarray, " quintiles"]

    def __add__(self, other: "LengthBins") -> "LengthBins":
        """Pool two steps, each cut at its own quintiles."""
        return LengthBins(**{name: counts + vars(other)[name] for name, counts in vars(self).items()})

    def reflection_ratio(self) -> Quintiles:
        """N_ref / N of each quintile, NaN for an empty one."""
        return _ratios(self.num_reflective, totals=self.num_responses)

    def correct_ratio_in_reflection_texts(self) -> Quintiles:
        """N_ref+ / N_ref of each quintile."""
        return _ratios(self.num_reflective_correct, totals=self.num_reflective)

    def correct_ratio_in_no_reflection_texts(self) -> Quintiles:
        """(N+ - N_ref+) / (N - N_ref) of each quintile."""
        num_plain_correct = self.num_correct - self.num_reflective_correct
        return _ratios(num_plain_correct, totals=self.num_responses - self.num_reflective)


def no_length_bins() -> LengthBins:
    """The counts of no response at all: where a sum starts."""
    return LengthBins(**dict.fromkeys(LengthBins.__dataclass_fields__, np.zeros(NUM_QUINTILES, dtype=np.int64)))


def bin_by_length(
    lengths: Num[np.ndarray, " responses"],
    *,
    reflective: Bool[np.ndarray, " responses"],
    correct: Bool[np.ndarray, " responses"],
) -> LengthBins:
    """Count the responses of one step by quintile of length.

    Equal lengths stay together, in the quintile of the middle of their ranks, so quintiles need not be equally full: what is
    held fixed is length, never the order in which responses were stored.
    """
    ordered = np.sort(lengths)
    first, past = (np.searchsorted(ordered, lengths, side=side) for side in ("left", "right"))
    quintile = NUM_QUINTILES * (first + past) // (2 * max(1, lengths.size))  # middle of the ranks, as a share, in fifths
    groups = (np.ones_like(correct), reflective, correct, reflective & correct)
    names = LengthBins.__dataclass_fields__
    return LengthBins(
        **{name: np.bincount(quintile[members], minlength=NUM_QUINTILES) for name, members in zip(names, groups, strict=True)}
    )


def first_and_last_fifth(values: Steps, *, weights: Steps | None = None) -> Fifths:
    """Means over the first and last fifth of the steps, each step counting as much as its weight; steps without a value do not.

    Weights turn the mean of ratios into the ratio of pooled counts: with the share of responses that reflect as weight, the mean
    of the steps' `correct_ratio_in_reflection_texts` is what the fifth's responses give together. NaN without any weight.
    """
    weights = np.ones_like(values) if weights is None else weights
    weights = np.where(np.isnan(values), 0.0, weights)
    fifth = max(1, values.size // 5)
    parts = (slice(None, fifth), slice(-fifth, None))
    totals = [float(weights[part].sum()) for part in parts]
    sums = [float((np.nan_to_num(values[part]) * weights[part]).sum()) for part in parts]
    first, last = (value / total if total > 0 else math.nan for value, total in zip(sums, totals, strict=True))
    return Fifths(first=first, last=last)


def bottleneck(seed_mean_accuracy: Float[np.ndarray, " epochs"], *, gain: float = 0.01) -> int | None:
    """The first epoch (place, from 0) after which the seed-mean training accuracy never gains another `gain` (share).

    None if that never came: only the last epoch, after which nothing was seen, is left. NaN is refused: seeds that stop
    early would change what the mean is a mean of.
    """
    if np.isnan(seed_mean_accuracy).any():
        raise ValueError("the seed-mean training accuracy has missing epochs: give only epochs that every seed has.")
    if seed_mean_accuracy.size < 2:
        return None
    best_later = np.maximum.accumulate(seed_mean_accuracy[::-1])[::-1][1:]
    stuck = best_later - seed_mean_accuracy[:-1] < gain - 1e-12  # a gain of exactly `gain` is one, whatever the rounding
    return int(stuck.argmax()) if stuck.any() else None


def correlation_within_seeds(pairs: Sequence[tuple[OfSeed, OfSeed]], *, confidence: float = 0.95) -> SeedCorrelation:
    """Spearman's rho over the steps of each seed, Fisher's z averaged over seeds, t-interval over seeds (df = n - 1).

    Steps are autocorrelated, so rho comes without a p-value of its own; only that independent seeds agree is evidence.
    """
    by_seed = tuple(_spearman(x, other=y) for x, y in pairs)
    sizes = [int((~np.isnan(x + y)).sum()) for x, y in pairs]
    z = [math.atanh(_inside(rho, size=size)) for rho, size in zip(by_seed, sizes, strict=True)]
    over_seeds = mean_interval(z, confidence=confidence)
    estimate, low, high = (math.tanh(value) for value in (over_seeds.estimate, over_seeds.low, over_seeds.high))
    interval = Interval(estimate=estimate, low=low, high=high, num_seeds=over_seeds.num_seeds)
    return SeedCorrelation(by_seed=by_seed, interval=interval)


def seed_share_of_variance(values: Float[np.ndarray, "seeds steps"], *, confidence: float = 0.95) -> Interval:
    """The share of the variance of single steps that lies between seeds: one-way random effects ICC(1) with its F-interval.

    (MSB - MSW) / (MSB + (k - 1) MSW) for k steps of a window in which the seeds are compared (Shrout & Fleiss 1979, Eq. 1 and
    p. 424). The noise within a seed is how its steps differ inside the window: other questions, other samples, and the
    trend if there is one. Neighbouring steps are alike, so the interval is too sure, the more so the longer the window. Kept
    within [0, 1]; NaN with a single seed, a single step or no variance at all.
    """
    num_seeds, num_steps = values.shape
    if num_seeds < 2 or num_steps < 2:
        return Interval(estimate=math.nan, low=math.nan, high=math.nan, num_seeds=num_seeds)
    df_between, df_within = num_seeds - 1, num_seeds * (num_steps - 1)
    between = num_steps * float(values.mean(axis=1).var(ddof=1))
    within = float(values.var(axis=1, ddof=1).mean())
    tail = (1 - confidence) / 2
    quantiles = (1.0, float(stats.f.isf(tail, df_between, df_within)), float(stats.f.ppf(tail, df_between, df_within)))
    estimate, low, high = (_intraclass(between / quantile, within=within, num_steps=num_steps) for quantile in quantiles)
    return Interval(estimate=estimate, low=low, high=high, num_seeds=num_seeds)


def _ratios(counts: Int[np.ndarray, " quintiles"], *, totals: Int[np.ndarray, " quintiles"]) -> Quintiles:
    return np.asarray(np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0))


def _intraclass(between: float, *, within: float, num_steps: int) -> float:
    """(F - 1) / (F + k - 1), written without dividing by a variance that may be 0."""
    total = between + (num_steps - 1) * within
    return min(1.0, max(0.0, (between - within) / total)) if total > 0 else math.nan


def _spearman(x: Steps, *, other: Steps) -> float:
    """NaN for fewer than three pairs or where either does not vary."""
    known = ~np.isnan(x + other)
    x, other = x[known], other[known]
    if x.size < 3 or np.ptp(x) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(stats.spearmanr(x, other).statistic)


def _inside(rho: float, *, size: int) -> float:
    """A rho of +-1 has no finite z; it is taken for half-way to the next value that `size` pairs can have."""
    if math.isnan(rho):
        return rho
    most = 1 - 6 / (size * (size**2 - 1))
    return min(most, max(-most, rho))


def far_from_other_seeds(scores: Matrix) -> Bool[np.ndarray, " seeds"]:
    """Runs further from the median of the arm than seeds that spread by 5 points, and single answers, explain: 15 points or more.

    The median, so that one collapsed run does not hide another. The spread is set and not estimated: among three runs the
    spread of the other two is one number, which a t-test would have to exceed 38-fold. docs/statistics.md says how often the
    rule flags an ordinary run and how often it finds a collapse. False throughout for fewer than three runs.
    """
    num_seeds, num_questions = scores.shape
    if num_seeds < 3:
        return np.zeros(num_seeds, dtype=bool)
    return far_from_median(scores.mean(axis=1), noise=np.asarray(residual_variance(scores) / num_questions))


def far_from_median(
    seed_means: Float[np.ndarray, "*more seeds"], *, noise: Float[np.ndarray, "*more"]
) -> Bool[np.ndarray, "*more seeds"]:
    """`noise`: the variance that single answers give a run's mean."""
    distance = np.abs(seed_means - np.median(seed_means, axis=-1, keepdims=True))
    return np.asarray(distance > FAR * np.sqrt(EXPECTED_SPREAD**2 + noise)[..., None])
