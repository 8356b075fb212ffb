"""What a staged design can be expected to take: simulated once more, without an effect and with one that it should find."""

import functools
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from vlm_rl.evaluation.sequential.boundary import levels_of_looks
from vlm_rl.evaluation.sequential.looks import Design, conditional_power
from vlm_rl.evaluation.sequential.spending import Floats
from vlm_rl.evaluation.verdict import LEVEL

STUDIES = 20_000
POWER = 0.8  # of a study of the largest size, for the effect that it should find
MANY_QUESTIONS = 10_000


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Of one arm, where all chance comes from seeds: there stopping early saves least."""

    seeds: float
    success: float  # chance


@dataclass(frozen=True, kw_only=True)
class _Studies:
    """Many differences at once."""

    estimate: Floats
    variance_seeds: Floats
    variance_questions: float
    df_seeds: float
    num_questions: int


@functools.cache
def expected(design: Design, *, has_effect: bool) -> Expected:
    """Seeds until an arm is decided or given up, and the chance of success; with an effect that the largest size finds with 80 %."""
    most = design.seeds[-1]
    gains = np.random.default_rng(0).standard_normal((STUDIES, most))
    if has_effect:
        gains += _effect(most)
    levels = levels_of_looks(design.seeds, share=0.0, spending=design.spending, level=LEVEL)
    is_open, success = np.ones(STUDIES, dtype=bool), np.zeros(STUDIES, dtype=bool)
    seeds = np.full(STUDIES, most)
    for place, number in enumerate(design.seeds):
        now = _studies(gains[:, :number])
        claims = np.abs(now.estimate) > special.stdtrit(number - 1, 1 - levels[place] / 2) * np.sqrt(now.variance_seeds)
        stops = claims
        if number < most and design.futility is not None:
            stops = claims | (conditional_power(now, seeds=number, most=most, level=levels[-1]) < design.futility)
        success |= is_open & claims & (now.estimate > 0)
        seeds[is_open & stops] = number
        is_open &= ~stops
    return Expected(seeds=float(seeds.mean()), success=float(success.mean()))


def _studies(gains: Floats) -> _Studies:
    number = gains.shape[1]
    return _Studies(
        estimate=gains.mean(axis=1),
        variance_seeds=gains.var(axis=1, ddof=1) / number,
        variance_questions=0.0,
        df_seeds=float(number - 1),
        num_questions=MANY_QUESTIONS,
    )


def _effect(most: int) -> float:
    """In standard deviations of a seed."""
    bar = float(special.stdtrit(most - 1, 1 - LEVEL / 2))
    effects = np.linspace(0.0, 20.0, 4001)
    found = stats.nct.sf(bar, most - 1, effects * np.sqrt(most))
    return float(np.interp(POWER, found, effects))
