"""The level at which each look at a growing study is tested, calibrated by simulation for the verdict's own statistic with few seeds.

With three seeds t has two degrees of freedom, and the part of the variance that comes from questions does not shrink as seeds come in: a
textbook boundary is right about neither. So the level of a look depends on how many seeds each look has and on the share of the variance
that questions will have at the largest size. Usual designs are read from boundaries.json (benchmarks/sequential_table.py), others are
simulated when they are asked for.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

from vlm_rl.evaluation.sequential.spending import Floats, Spending, spent
from vlm_rl.evaluation.verdict import LEVEL

TABLE = Path(__file__).with_name("boundaries.json")
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of questions; at 1 all looks are one
REPLICATIONS = 400_000
P_VALUES = np.exp(np.linspace(np.log(1e-9), 0.0, 512))  # between which a p-value is found

Counts = tuple[int, ...]


def information(seeds: Sequence[int], *, share: float) -> Floats:
    """Of each look, relative to the last: `share` of the last look's variance comes from questions, which all looks have in common."""
    return np.asarray(1 / (share + (1 - share) * seeds[-1] / np.asarray(seeds, dtype=np.float64)))


def levels_of_looks(seeds: Counts, *, share: float | Floats, spending: Spending, level: float = LEVEL) -> Floats:
    """The two-sided level of each look, (looks, ...); `seeds`: how many each arm has at each look, `share`: see `information`."""
    at_one = (level,) * len(seeds)
    table = np.array([*_table(seeds, spending, round(level, 12)), at_one])
    return np.minimum(level, [np.interp(share, (*SHARES, 1.0), column) for column in table.T])  # the table is rounded


@functools.cache
def _table(seeds: Counts, spending: Spending, level: float) -> tuple[tuple[float, ...], ...]:
    stored = _stored().get(key_of(seeds, spending=spending, level=level))
    return stored or tuple(
        calibrated(
            p_values_without_effect(seeds, share=share), spent(information(seeds, share=share), spending=spending, level=level)
        )
        for share in SHARES
    )


@functools.cache
def _stored() -> dict[str, tuple[tuple[float, ...], ...]]:
    return {key: tuple(map(tuple, rows)) for key, rows in json.loads(TABLE.read_text(encoding="utf-8")).items()}


def key_of(seeds: Sequence[int], *, spending: Spending, level: float) -> str:
    """How a design is called in the table: `3,5,7,10 obrien_fleming 0.05`."""
    return f"{','.join(map(str, seeds))} {spending} {level:.6g}"


def calibrated(p_values: Sequence[Floats], allowed: Floats) -> tuple[float, ...]:
    """Levels with which as many of these studies claim something by each look as may be spent; `allowed`: by each look, see `spent`.

    No level is below what a look may spend by itself, which needs no simulation, or above the whole level, so that no look claims what
    a study of fixed size would not.
    """
    goes_on = np.ones(p_values[0].size, dtype=bool)
    found: list[float] = []
    for p, now, before in zip(p_values, allowed, (0.0, *allowed), strict=False):
        more = max(0, round(now * p.size) - int((~goes_on).sum()))
        candidate = float(np.partition(p[goes_on], more)[more])
        found.append(float(np.clip(candidate, now - before, allowed[-1])))
        goes_on &= p >= found[-1]
    return tuple(found)


def p_values_without_effect(seeds: Counts, *, share: float, replications: int = REPLICATIONS) -> Sequence[Floats]:
    """Of each look at studies in which nothing has an effect; a look has the runs of those before, and the last one variance 1.

    Seeds and questions are normal, questions are many, and the same stream is drawn each time.
    """
    generator = np.random.default_rng([seeds[-1], round(1000 * share)])
    question = np.sqrt(share) * generator.standard_normal(replications)
    total, squares = np.zeros(replications), np.zeros(replications)
    found = []
    for number in range(1, seeds[-1] + 1):
        gains = np.sqrt((1 - share) * seeds[-1]) * generator.standard_normal(replications)
        total += gains
        squares += gains**2
        if number in seeds:
            variance = np.maximum(0.0, squares - total**2 / number) / (number - 1) / number
            found.append(_p_values(total / number + question, of_seeds=variance, of_questions=share, df=number - 1))
    return found


def _p_values(estimates: Floats, *, of_seeds: Floats, of_questions: float, df: int) -> Floats:
    """`verdict.p_value` of many differences at once, to a thousandth of itself: log p is interpolated between P_VALUES."""
    t_squared, z_squared = special.stdtrit(df, 1 - P_VALUES / 2) ** 2, special.ndtri(1 - P_VALUES / 2) ** 2

    def width_less_estimate(place: NDArray[np.int64]) -> Floats:
        return np.asarray(np.sqrt(t_squared[place] * of_seeds + z_squared[place] * of_questions) - np.abs(estimates))

    low, high = np.zeros(estimates.size, dtype=np.int64), np.full(estimates.size, P_VALUES.size - 1)
    while (high - low).max() > 1:  # the width falls as p rises, from above the estimate to 0
        middle = (low + high) // 2
        is_above = width_less_estimate(middle) > 0
        low, high = np.where(is_above, middle, low), np.where(is_above, high, middle)
    above, below = width_less_estimate(low), width_less_estimate(high)
    part = np.clip(above / np.maximum(above - below, 1e-300), 0.0, 1.0)
    return np.asarray(np.exp((1 - part) * np.log(P_VALUES[low]) + part * np.log(P_VALUES[high])))
