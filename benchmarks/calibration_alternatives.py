"""Other ways to judge the gains of a few seeds, held against the verdict's rule where seeds are skewed and where they are normal.

Each takes the place of the t test over seeds; all add the chance of questions as the rule does: |g| against sqrt(c^2 a + t^2 b),
where only c or a differ. Left out: sign and permutation tests, which with 3 to 5 seeds have no p-value below 5 %.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from calibration_decisions import Flags, differences, layout
from calibration_studies import MANY
from calibration_world import Shares, World
from scipy import special

from vlm_rl.evaluation.verdict import LEVEL, ROUNDING

QUESTIONS = 600
SKEWED = World(gain=0.0, seed_spread=0.1, response_spread=0.0, paired=True, seeds_like="left-skewed")
NORMAL = replace(SKEWED, seed_spread=0.02, seeds_like="normal")
GAINS = {3: 0.102, 5: 0.054, 10: 0.033}  # share: what the rule finds in 80 % of studies, by seeds; table of the plain worlds
DRAWS = 999  # of the wild bootstrap with six weights
SIX_WEIGHTS = (-(1.5**0.5), -1.0, -(0.5**0.5), 0.5**0.5, 1.0, 1.5**0.5)


@dataclass(frozen=True, kw_only=True)
class Gains:
    """What a method sees, replication by replication."""

    each: Shares  # (replications, seeds)
    of_questions: Shares  # t^2 b, (replications,)

    @property
    def seeds(self) -> int:
        return self.each.shape[1]

    @property
    def variance(self) -> Shares:
        return np.maximum(self.each.var(axis=1, ddof=1), ROUNDING)

    def beyond(self, critical: float | Shares, *, a: Shares, centre: Shares | None = None) -> Flags:
        """|g| > sqrt(c^2 a + t^2 b)."""
        g = self.each.mean(axis=1) if centre is None else centre
        return np.abs(g) > np.sqrt(critical**2 * a + self.of_questions)

    def t_statistic(self) -> Shares:
        """Of the whole width, so that it is compared with t of seeds - 1."""
        t = _t(self.seeds - 1)
        return t * self.each.mean(axis=1) / np.sqrt(t**2 * self.variance / self.seeds + self.of_questions)

    def skewness(self) -> Shares:
        """The third moment over the cubed standard deviation. An unbiased third moment loses up to 10 points more power."""
        return ((self.each - self.each.mean(axis=1, keepdims=True)) ** 3).mean(axis=1) / self.variance**1.5


def t_test(gains: Gains, *, level: float = LEVEL, floor: float = 0.0) -> Flags:
    """The rule, where need be with another level, or with a spread of seeds taken to be at least `floor`."""
    return gains.beyond(_t(gains.seeds - 1, level=level), a=np.maximum(gains.variance, floor**2) / gains.seeds)


def johnson(gains: Gains) -> Flags:
    """Johnson (1978, https://doi.org/10.1080/01621459.1978.10480051): t + skewness (1 + 2 t^2) / (6 sqrt(n))."""
    t = gains.t_statistic()
    return np.abs(t + gains.skewness() * (1 + 2 * t**2) / (6 * gains.seeds**0.5)) > _t(gains.seeds - 1)


def hall(gains: Gains) -> Flags:
    """Hall (1992, https://doi.org/10.1111/j.2517-6161.1992.tb01872.x): Johnson's with the cubic term that makes it monotone."""
    t, shift = gains.t_statistic(), gains.skewness() / gains.seeds**0.5
    return np.abs(t + shift * (1 + 2 * t**2) / 6 + shift**2 * t**3 / 27) > _t(gains.seeds - 1)


def trimmed(gains: Gains) -> Flags | None:
    """Mean without the lowest and highest fifth, with winsorised variance (Yuen 1974, https://doi.org/10.1093/biomet/61.1.165)."""
    cut = gains.seeds // 5
    if cut == 0:
        return None  # of three seeds one would be left
    ordered, kept = np.sort(gains.each, axis=1), gains.seeds - 2 * cut
    middle = ordered[:, cut:-cut]
    winsorised = np.clip(ordered, middle[:, :1], middle[:, -1:])
    a = winsorised.var(axis=1, ddof=1) * (gains.seeds - 1) / (kept * (kept - 1))
    return gains.beyond(_t(kept - 1), a=a, centre=middle.mean(axis=1))


def wild_signs(gains: Gains) -> Flags:
    """Wild bootstrap with all 2^n random signs, the effect 0 imposed: the sign-flip permutation test of t."""
    signs = 1 - 2 * (np.arange(2**gains.seeds)[:, None] >> np.arange(gains.seeds) & 1)
    return _wild(gains, weights=signs.astype(np.float64))


def wild_six_weights(gains: Gains) -> Flags:
    """Wild bootstrap for few clusters (Webb 2023, https://doi.org/10.1111/caje.12661): six weights in place of two signs."""
    generator = np.random.default_rng(0)
    drawn = generator.choice(SIX_WEIGHTS, size=(DRAWS, gains.seeds))
    return _wild(gains, weights=np.vstack([np.ones(gains.seeds), drawn]))


def empirical_bernstein(gains: Gains) -> Flags:
    """For gains anywhere in [-1, 1] (Maurer and Pontil 2009, https://arxiv.org/abs/0907.3740, theorem 4)."""
    log, n = math.log(4 / LEVEL), gains.seeds
    width = np.sqrt(2 * gains.variance * log / n) + 2 * 7 * log / (3 * (n - 1))
    return np.abs(gains.each.mean(axis=1)) > np.hypot(width, np.sqrt(gains.of_questions))


def best_bet(gains: Gains) -> Flags:
    """What no betting interval on [-1, 1] can beat (Waudby-Smith and Ramdas 2024, https://arxiv.org/abs/2010.09686).

    A bet on seed i multiplies the capital by at most 1 + |gain i|, and a claim takes a capital of 2 / LEVEL.
    """
    capital = [np.prod(1 + np.maximum(0, side * gains.each), axis=1) for side in (1, -1)]
    return np.maximum(*capital) >= 2 / LEVEL


METHODS: dict[str, Callable[[Gains], Flags | None]] = {
    "the rule (t test)": t_test,
    "the rule at 2.5 %": lambda gains: t_test(gains, level=0.025),
    "seeds taken to spread by 2 points or more": lambda gains: t_test(gains, floor=0.02),
    "seeds taken to spread by 5 points or more": lambda gains: t_test(gains, floor=0.05),
    "t corrected for skewness (Johnson)": johnson,
    "t transformed for skewness (Hall)": hall,
    "trimmed mean (Yuen)": trimmed,
    "wild bootstrap, signs": wild_signs,
    "wild bootstrap, six weights": wild_six_weights,
    "bounded gains: empirical Bernstein": empirical_bernstein,
    "bounded gains: betting, at its very best": best_bet,
}


@dataclass(frozen=True, kw_only=True)
class Alternatives:
    """One world, judged in every way."""

    most_replications: ClassVar[int] = MANY
    world: World
    seeds: int

    @property
    def answers(self) -> int:
        return 2 * self.seeds * QUESTIONS

    def measure(self, generator: np.random.Generator, *, replications: int) -> dict[str, float]:
        """Share of claims by each method (of a gain: of improvements); NaN where it cannot be computed."""
        drawn = self.world.draw(generator, replications=replications, seeds=self.seeds, questions=QUESTIONS)
        found = differences(drawn.arm, reference=drawn.reference, paired=True)
        gains = Gains(
            each=layout(drawn.arm - drawn.reference, per_image=1).seed_means,
            of_questions=_t(QUESTIONS - 1) ** 2 * found.variance_questions,
        )
        counted = found.judged & ((found.estimate > 0) | (self.world.gain == 0))
        claims = {name: method(gains) for name, method in METHODS.items()}
        return {name: math.nan if hits is None else float((hits & counted).mean()) for name, hits in claims.items()}


def alternatives() -> Iterator[Alternatives]:
    """Column by column."""
    for world in (SKEWED, NORMAL):
        for seeds in GAINS:
            yield Alternatives(world=world, seeds=seeds)
    for seeds, gain in GAINS.items():
        yield Alternatives(world=replace(NORMAL, gain=gain, response_spread=0.5), seeds=seeds)


def _t(df: int, *, level: float = LEVEL) -> float:
    return float(special.stdtrit(df, 1 - level / 2))


def _wild(gains: Gains, *, weights: Shares) -> Flags:
    n = gains.seeds
    means = gains.each @ weights.T / n
    variances = np.maximum((gains.each**2 @ (weights**2).T - n * means**2) / (n - 1), ROUNDING)
    drawn = np.sort(np.abs(means) / np.sqrt(variances / n), axis=1)
    more_extreme = int(LEVEL * len(weights))  # as many may be as large as the statistic itself, which is one of them
    return gains.beyond(drawn[:, -1 - more_extreme] * (1 + 1e-9), a=gains.variance / n)
