"""The effect when a study has stopped: an estimate that is as often too high as too low, and its interval.

A study that stops because its difference was large shows too much. Outcomes are ordered by stage: a success at an earlier look speaks more
for the arm than one at a later look (Tsiatis, Rosner and Mehta 1984, https://doi.org/10.2307/2531178).
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize

from vlm_rl.evaluation.sequential.looks import Look
from vlm_rl.evaluation.sequential.spending import crossing
from vlm_rl.evaluation.statistics import Interval

FARTHEST = 12.0  # standard errors of the largest design; drifts beyond are not looked for


def at_the_stop(looks: Sequence[Look], *, margin: float = 0.0, confidence: float = 0.95) -> Interval:
    """Median-unbiased estimate and interval of one arm, from all looks at it up to the last.

    Standard errors are as estimated at the last look, the statistic as a normal quantile. NaN where there is none.
    """
    last = looks[-1]
    shifted = last.estimate + margin
    if math.isnan(last.statistic) or last.statistic == 0 or shifted == 0:
        return Interval(estimate=last.estimate, low=math.nan, high=math.nan, num_seeds=last.seeds)
    of_largest = shifted / last.statistic * math.sqrt(last.information)  # standard error of the largest design
    times = _increasing([look.information for look in looks])
    boundaries = [look.boundary for look in looks[:-1]]

    def at_least(drift: float) -> float:
        """The chance of an outcome that speaks at least as much for the arm."""
        chances = crossing([*boundaries, abs(last.statistic)], information=times, drift=drift)
        before = float(chances.above[:-1].sum())
        if last.statistic > 0:
            return before + float(chances.above[-1])
        return float(1 - chances.below.sum())

    def drift_at(chance: float) -> float:
        return float(optimize.brentq(lambda drift: at_least(drift) - chance, -FARTHEST, FARTHEST, xtol=1e-6))

    tail = (1 - confidence) / 2
    estimate, low, high = (drift_at(chance) * of_largest - margin for chance in (0.5, tail, 1 - tail))
    return Interval(estimate=estimate, low=low, high=high, num_seeds=last.seeds)


def _increasing(times: Sequence[float]) -> list[float]:
    """Information as it should have grown: estimated anew at each look it may seem to fall."""
    latest = np.minimum.accumulate(np.asarray(times)[::-1])[::-1]
    return [float(max(time, 1e-3) * (1 + 1e-9 * place)) for place, time in enumerate(latest)]
