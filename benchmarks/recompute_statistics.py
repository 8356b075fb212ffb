"""The formulas of docs/statistics.md, each written anew, plainly and slowly, for recompute_report.py. Nothing of vlm_rl is used."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

MOST = {"seeds": 1_000, "questions": 100_000}  # no plan is larger

Range = tuple[float, float, float]  # at the measured variance, and at both of its limits


def interval(name: str, values: Sequence[float], confidence: float = 0.95) -> dict[str, float]:
    """Four cells of a table: the mean over seeds, the ends of its t-interval, and how many seeds have a value."""
    known = [value for value in values if not math.isnan(value)]
    n = len(known)
    mean = math.fsum(known) / n if n else math.nan
    half = math.nan
    if n > 1:
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (n - 1))
        half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * spread / math.sqrt(n)
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half, f"{name}_seeds": n}


def between(name: str, ends: tuple[float, float, float], seeds: int) -> dict[str, float]:
    """The same four cells of an interval that is no t-interval over seeds."""
    return {name: ends[0], f"{name}_low": ends[1], f"{name}_high": ends[2], f"{name}_seeds": seeds}


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A difference with what it takes to judge it; one entry of each list for pairs, two for two arms."""

    g: float
    n: list[int]
    seed_variances: list[float]
    residuals: list[float]
    question_variance: float
    images: int

    @property
    def a(self) -> float:
        """Variance of g over seeds."""
        return sum(variance / n for variance, n in zip(self.seed_variances, self.n, strict=True))

    @property
    def b(self) -> float:
        """Variance of g over questions, less what is only noise of few seeds."""
        noise = sum(residual / n for residual, n in zip(self.residuals, self.n, strict=True))
        return max(0.0, (self.question_variance - noise) / self.images) if self.images > 1 else math.nan

    @property
    def df(self) -> float:
        """n - 1, or Welch's."""
        if min(self.n) < 2:
            return math.nan
        parts = [variance / n for variance, n in zip(self.seed_variances, self.n, strict=True)]
        below = sum(part**2 / (n - 1) for part, n in zip(parts, self.n, strict=True))
        return sum(parts) ** 2 / below if below > 0 else min(self.n) - 1

    @property
    def has_spread(self) -> bool:
        """Whether there is anything to test with: seeds that differ by more than rounding, several questions."""
        return min(self.n) > 1 and self.images > 1 and self.a > 1e-18

    def half(self, confidence: float, *, with_questions: bool = True) -> float:
        """Half the width of the interval."""
        t_seeds, t_questions = (stats.t.ppf(0.5 + confidence / 2, df) for df in (self.df, self.images - 1))
        return math.sqrt(t_seeds**2 * self.a + (t_questions**2 * self.b if with_questions else 0.0))

    def ends(self, confidence: float = 0.95, *, with_questions: bool = True) -> tuple[float, float, float]:
        """g and both ends; no ends for a single seed."""
        half = self.half(confidence, with_questions=with_questions) if min(self.n) > 1 else math.nan
        return self.g, self.g - half, self.g + half

    @property
    def p(self) -> float:
        """The level at which the first interval just touches 0; NaN where there is nothing to test with."""
        if not self.has_spread:
            return math.nan

        def gap(log_p: float) -> float:
            t_seeds, t_questions = (stats.t.isf(math.exp(log_p) / 2, df) for df in (self.df, self.images - 1))
            return math.sqrt(t_seeds**2 * self.a + t_questions**2 * self.b) - abs(self.g)

        return math.exp(optimize.brentq(gap, -200.0, 0.0, xtol=1e-13)) if gap(-200.0) > 0 else 0.0


def effect_of(sides: Sequence[np.ndarray], images: Sequence[str]) -> Effect:
    """Of one matrix (seeds x questions) of differences paired by seed, or of an arm and the reference."""
    names = sorted(set(images))
    summed, residuals = [], []
    for matrix in sides:
        grand = float(matrix.mean())
        sums = np.zeros((len(matrix), len(names)))
        for column, image in enumerate(images):
            sums[:, names.index(image)] += matrix[:, column] - grand
        sums = grand + sums * len(names) / len(images)
        summed.append(sums)
        left = sums - sums.mean(axis=1)[:, None] - sums.mean(axis=0)[None, :] + sums.mean()
        df = (sums.shape[0] - 1) * (sums.shape[1] - 1)
        residuals.append(float((left**2).sum()) / df if df else 0.0)
    of_images = summed[0].mean(axis=0) - (summed[1].mean(axis=0) if len(sides) > 1 else 0.0)
    return Effect(
        g=float(sides[0].mean()) - (float(sides[1].mean()) if len(sides) > 1 else 0.0),
        n=[len(matrix) for matrix in sides],
        seed_variances=[float(matrix.mean(axis=1).var(ddof=1)) if len(matrix) > 1 else math.nan for matrix in sides],
        residuals=residuals,
        question_variance=float(of_images.var(ddof=1)) if len(names) > 1 else math.nan,
        images=len(names),
    )


def holm(p_values: Sequence[float], level: float) -> tuple[list[float], list[float]]:
    """Adjusted p-values, and the level at which each is tested; NaN where there is no p-value."""
    order = [place for place in np.argsort(p_values, kind="stable") if not math.isnan(p_values[place])]
    adjusted, levels = [math.nan] * len(p_values), [math.nan] * len(p_values)
    left, highest, has_failed = len(order), 0.0, False
    for place in order:
        levels[place] = level / left
        has_failed = has_failed or p_values[place] >= levels[place]
        if not has_failed:
            left -= 1
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted, levels


@dataclass(frozen=True, kw_only=True)
class Design:
    """A study that might be run: how its effect varies, with variances as estimated from the one that was."""

    seeds: list[float]  # variance of one run's mean over all questions there could be
    residuals: list[float]
    questions: float
    level: float

    def widths(self, n: Sequence[int], images: int) -> tuple[np.ndarray, float]:
        """360 (of pairs) or 14,400 equally likely half widths of the interval, and the standard deviation of g."""
        each = list(zip(self.seeds, self.residuals, n, strict=True))
        scales = [(seed + residual / images) / size for seed, residual, size in each]
        chances = (np.arange(40) + 0.5) / 40
        drawn = [scale * stats.chi2.ppf(chances, size - 1) / (size - 1) for scale, size in zip(scales, n, strict=True)]
        a, df = drawn[0], np.full(40, n[0] - 1.0)
        if len(n) == 2:
            one, other = np.repeat(drawn[0], 40), np.tile(drawn[1], 40)
            below = one**2 / (n[0] - 1) + other**2 / (n[1] - 1)
            a, df = one + other, np.where(below > 0, (one + other) ** 2 / np.where(below > 0, below, 1), min(n) - 1.0)
        noise = sum(residual / size for residual, size in zip(self.residuals, n, strict=True))
        spread = 2 * (self.questions + noise) ** 2 / (images - 1)
        spread += sum(2 * (residual / size) ** 2 / ((size - 1) * (images - 1)) for _, residual, size in each)
        nine = stats.norm.ppf((np.arange(9) + 0.5) / 9)
        b = np.maximum(0.0, self.questions + math.sqrt(spread) * nine) / images
        t_seeds, t_questions = special.stdtrit(df, 1 - self.level / 2), special.stdtrit(images - 1, 1 - self.level / 2)
        squares = (t_seeds**2 * a)[:, None] + (t_questions**2 * b)[None, :]
        return np.sqrt(squares).ravel(), math.sqrt(sum(scales) + self.questions / images)

    def power(self, effect: float, n: Sequence[int], images: int) -> float:
        """How often a true effect is called an improvement."""
        if min(n) < 3:
            return 0.0
        widths, sd = self.widths(n, images)
        return float(stats.norm.cdf((effect - widths) / sd).mean()) if sd else float(effect > 0)

    def detectable(self, n: Sequence[int], images: int) -> float:
        """The effect that is found in four studies of five; infinite where none of 100 points is."""
        if min(n) < 3:
            return math.inf
        widths, sd = self.widths(n, images)

        def missed(effect: float) -> float:
            return float(stats.norm.cdf((effect - widths) / sd).mean()) - 0.8

        return float(optimize.brentq(missed, 0.0, 1.0, xtol=1e-12)) if missed(1.0) > 0 else math.inf


def designs(effect: Effect, level: float, of: str) -> list[Design]:
    """With the variance over seeds or over questions as measured, at its lower and at its upper 95 % limit."""
    df = effect.df if of == "seeds" else effect.images - 1
    found = []
    for factor in (1.0, df / stats.chi2.ppf(0.975, df), df / stats.chi2.ppf(0.025, df)):
        by_seeds, by_questions = (factor, 1.0) if of == "seeds" else (1.0, factor)
        pairs = zip(effect.seed_variances, effect.residuals, strict=True)
        seeds = [max(0.0, by_seeds * variance - residual / effect.images) for variance, residual in pairs]
        questions = by_questions * effect.b * effect.images
        found.append(Design(seeds=seeds, residuals=effect.residuals, questions=questions, level=level))
    return found


def detectable(effect: Effect, level: float, *, n: Sequence[int], images: int) -> Range:
    """The smallest effect that is found, and at both limits of the spread over seeds."""
    one, low, high = (design.detectable(n, images) for design in designs(effect, level, "seeds"))
    return one, low, high


def needed(effect: Effect, level: float, *, size: float, of: str, n: Sequence[int], images: int) -> Range:
    """How many seeds (of each arm) or questions find an effect of some size, all else as it is."""
    fewest = 3 if of == "seeds" else 2

    def reached(design: Design) -> Callable[[int], bool]:
        if of == "seeds":
            return lambda count: design.power(size, [count] * len(n), images) >= 0.8
        return lambda count: design.power(size, n, count) >= 0.8

    one, low, high = (first(reached(design), fewest, MOST[of]) for design in designs(effect, level, of))
    return one, low, high


def first(is_enough: Callable[[int], bool], low: int, most: int) -> float:
    """The smallest number that is enough, by halving; infinite where not even the largest is."""
    if not is_enough(most):
        return math.inf
    high = most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return low


def exaggeration(effect: Effect, level: float, truth: float) -> float:
    """The mean measured effect of studies of this design that find a true one, over the true one."""
    design = designs(effect, level, "seeds")[0]
    widths, sd = design.widths(effect.n, effect.images)
    distances = (truth - widths) / sd
    above = stats.norm.cdf(distances)
    return float((truth * above + sd * stats.norm.pdf(distances)).sum() / above.sum() / truth)
