"""Which gain a design can find, and how many seeds or questions a plan needs: power of the verdict's test, from its variances.

The test compares |g| with sqrt(t_df^2 a + t_(Q-1)^2 b). Its power averages over what a and b will be estimated as, which with
three seeds matters more than anything else. docs/statistics.md shows by simulation how exact the formula is.
"""

import bisect
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from vlm_rl.evaluation.statistics import Difference
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, LEVEL

POWER = 0.8
MOST_SEEDS, MOST_QUESTIONS = 1_000, 100_000  # no plan is larger
SEED_NODES, QUESTION_NODES = 40, 9  # equally likely values of each estimated variance


@dataclass(frozen=True, kw_only=True)
class Variances:
    """Where the chance of a difference comes from, free of the design; one entry for pairs, (arm, reference) for two arms."""

    seeds: tuple[float, ...]  # of a run's mean over all questions there could be
    residuals: tuple[float, ...]  # of one question in one run, beyond what seed and question explain
    questions: float  # of a question's difference, averaged over all seeds there could be


@dataclass(frozen=True, kw_only=True)
class Range:
    """A planning figure at the estimated variance, and at both 95 % limits of that variance; infinite = out of reach."""

    estimate: float
    low: float
    high: float


def variances_of(difference: Difference, *, seed_factor: float = 1.0, question_factor: float = 1.0) -> Variances:
    """The estimated variances, with those of seed means and of questions multiplied by a factor."""
    residuals = difference.residual_variances
    totals = zip(difference.seed_variances, residuals, strict=True)
    return Variances(
        seeds=tuple(max(0.0, seed_factor * total - noise / difference.num_questions) for total, noise in totals),
        residuals=residuals,
        questions=question_factor * difference.variance_questions * difference.num_questions,
    )


def variance_limits(df: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Between which multiples of its estimate a variance lies: chi-square limits; (0.27, 39.5) for three seeds."""
    tail = (1 - confidence) / 2
    return float(df / stats.chi2.isf(tail, df)), float(df / stats.chi2.ppf(tail, df))


@functools.lru_cache(maxsize=16384)
def power(effect: float, *, variances: Variances, seeds: tuple[int, ...], questions: int, level: float = LEVEL) -> float:
    """Probability that a true gain of `effect` is found and called an improvement, two-sided test at `level`; 0 below FEWEST_SEEDS."""
    if min(seeds) < FEWEST_SEEDS:
        return 0.0
    widths, spread = _widths_and_spread(variances, seeds=seeds, questions=questions, level=level)
    if spread == 0:
        return float(effect > 0)
    return float(special.ndtr((effect - widths) / spread).mean())


def exaggeration(effect: float, *, difference: Difference, level: float = LEVEL) -> float:
    """How many times a true gain of `effect` > 0 is measured on average by those studies of this very design that call it an improvement.

    The type M error of Gelman and Carlin (2014, https://doi.org/10.1177/1745691614551642), for the verdict's test and for
    improvements alone. NaN below FEWEST_SEEDS, where nothing is called an improvement.
    """
    if difference.num_seeds < FEWEST_SEEDS:
        return math.nan
    widths, spread = _widths_and_spread(
        variances_of(difference), seeds=difference.seeds, questions=difference.num_questions, level=level
    )
    if spread == 0:
        return 1.0
    distances = (effect - widths) / spread  # the mean of a normal variable above w: effect + spread density(d) / probability(d)
    above = special.ndtr(distances)
    return float(1 + spread * stats.norm.pdf(distances).sum() / above.sum() / effect)


def seeds_needed(difference: Difference, *, effect: float, questions: int | None = None, level: float = LEVEL) -> Range:
    """Seeds (of each arm) that find a true gain of `effect` at 80 % power, on as many questions as now unless said."""
    num_questions = difference.num_questions if questions is None else questions

    def needed(variances: Variances) -> float:
        def reached(size: int) -> float:
            return power(
                effect, variances=variances, seeds=(size,) * len(variances.seeds), questions=num_questions, level=level
            )

        return _smallest(range(FEWEST_SEEDS, MOST_SEEDS + 1), reached)

    return _over_seed_limits(needed, difference=difference)


def questions_needed(difference: Difference, *, effect: float, seeds: int | None = None, level: float = LEVEL) -> Range:
    """Questions (images, where they share some) that find a true gain of `effect` at 80 % power, with as many seeds unless said."""
    runs = _seeds(difference, planned=seeds)

    def needed(variances: Variances) -> float:
        def reached(size: int) -> float:
            return power(effect, variances=variances, seeds=runs, questions=size, level=level)

        return _smallest(range(2, MOST_QUESTIONS + 1), reached)

    low, high = variance_limits(difference.num_questions - 1)
    found = [needed(variances_of(difference, question_factor=factor)) for factor in (1.0, low, high)]
    return Range(estimate=found[0], low=found[1], high=found[2])


def detectable_effect(
    difference: Difference, *, seeds: int | None = None, questions: int | None = None, level: float = LEVEL
) -> Range:
    """The smallest true gain (a share) found at 80 % power, by this design or with other numbers of seeds or questions."""
    sizes = _seeds(difference, planned=seeds)
    num_questions = difference.num_questions if questions is None else questions

    def detected(variances: Variances) -> float:
        def gap(effect: float) -> float:
            return power(effect, variances=variances, seeds=sizes, questions=num_questions, level=level) - POWER

        return float(optimize.brentq(gap, 0.0, 1.0, xtol=1e-6)) if gap(1.0) > 0 else math.inf

    return _over_seed_limits(detected, difference=difference)


def _smallest(sizes: range, power_at: Callable[[int], float]) -> float:
    place = bisect.bisect_left(sizes, POWER, key=power_at)
    return float(sizes[place]) if place < len(sizes) else math.inf


def _seeds(difference: Difference, *, planned: int | None) -> tuple[int, ...]:
    return difference.seeds if planned is None else (planned,) * len(difference.seeds)


def seeds_dominate(difference: Difference) -> bool:
    """Whether chance comes more from seeds (a) than from questions (b)."""
    return difference.variance_seeds >= difference.variance_questions


def _over_seed_limits(figure: Callable[[Variances], float], *, difference: Difference) -> Range:
    low, high = variance_limits(difference.df_seeds)
    found = [figure(variances_of(difference, seed_factor=factor)) for factor in (1.0, low, high)]
    return Range(estimate=found[0], low=found[1], high=found[2])


def _widths_and_spread(
    variances: Variances, *, seeds: tuple[int, ...], questions: int, level: float
) -> tuple[NDArray[np.float64], float]:
    """Equally likely half widths of the test's interval, and the standard deviation of what is measured."""
    scales = [
        (seed + noise / questions) / size for seed, noise, size in zip(variances.seeds, variances.residuals, seeds, strict=True)
    ]
    t_seeds_squared_a = _seed_widths(scales, seeds=seeds, level=level)
    t_questions = special.stdtrit(questions - 1, 1 - level / 2)
    widths = np.sqrt(
        t_seeds_squared_a[:, None] + t_questions**2 * _question_estimates(variances, seeds=seeds, questions=questions)
    )
    return widths, math.sqrt(sum(scales) + variances.questions / questions)


def _seed_widths(scales: list[float], *, seeds: tuple[int, ...], level: float) -> NDArray[np.float64]:
    """t_df^2 a for equally likely estimates of a: chi-square for each arm, df as the test will estimate it."""
    chances = (np.arange(SEED_NODES) + 0.5) / SEED_NODES
    each = [scale * special.chdtri(size - 1, 1 - chances) / (size - 1) for scale, size in zip(scales, seeds, strict=True)]
    if len(each) == 1:
        return np.asarray(special.stdtrit(seeds[0] - 1, 1 - level / 2) ** 2 * each[0])
    arm, reference = (grid.ravel() for grid in np.meshgrid(*each))
    squares = arm**2 / (seeds[0] - 1) + reference**2 / (seeds[1] - 1)
    df = np.divide((arm + reference) ** 2, squares, out=np.full_like(arm, min(seeds) - 1.0), where=squares > 0)
    return np.asarray(special.stdtrit(df, 1 - level / 2) ** 2 * (arm + reference))


def _question_estimates(variances: Variances, *, seeds: tuple[int, ...], questions: int) -> NDArray[np.float64]:
    """Equally likely estimates of b: normal around b, cut at 0 as the estimator is."""
    noises = [noise / size for noise, size in zip(variances.residuals, seeds, strict=True)]
    total = 2 * (variances.questions + sum(noises)) ** 2 / (questions - 1)
    taken_off = sum(2 * noise**2 / ((size - 1) * (questions - 1)) for noise, size in zip(noises, seeds, strict=True))
    chances = (np.arange(QUESTION_NODES) + 0.5) / QUESTION_NODES
    estimates = variances.questions + math.sqrt(total + taken_off) * special.ndtri(chances)
    return np.asarray(np.maximum(0.0, estimates) / questions)
