"""One look at a growing study: what each arm's difference says against the boundary of this look, and whether more seeds are worth it.

The statistic is that of the verdict (seeds and questions, paired or Welch). Several arms are tested by Holm's procedure with a boundary for
each step (Ye, Li, Liu and Yao 2013, https://doi.org/10.1002/sim.5700): an arm that is decided leaves its part of the level to the others.
Stopping for futility is not binding: a study that goes on all the same keeps its level.
"""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy import special

from vlm_rl.evaluation.sequential.boundary import information, levels_of_looks
from vlm_rl.evaluation.sequential.spending import Spending
from vlm_rl.evaluation.statistics import Difference, Interval
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, LEVEL, ROUNDING, lacks_seed_spread, p_value

UPPER_LIMIT = 0.975  # chance with which a variance lies below its cautious estimate


class Finding(enum.Enum):
    """What a look says of an arm."""

    SUCCESS = "success"
    HARM = "harm"
    FUTILITY = "futility"
    GO_ON = "go on"
    OPEN = "open"  # all seeds are there, and nothing is decided


@dataclass(frozen=True, kw_only=True)
class Design:
    """When a study is looked at, and by what it stops."""

    seeds: tuple[int, ...]  # of each arm, at each look
    spending: Spending = "obrien_fleming"
    futility: float | None = 0.05  # a chance: with less conditional power an arm stops; None: it never does
    margin: float = 0.0  # a share: success is a difference above -margin; 0 for an improvement

    def __post_init__(self) -> None:
        """Raise ValueError for looks that are none."""
        if (
            not self.seeds
            or self.seeds[0] < FEWEST_SEEDS
            or any(a >= b for a, b in zip(self.seeds, self.seeds[1:], strict=False))
        ):
            raise ValueError(
                f"looks={list(self.seeds)}: each look needs more seeds than the one before, and the first at least {FEWEST_SEEDS}, "
                "as looks=[3,5,7,10]."
            )
        if self.futility is not None and not 0 < self.futility < 1:
            raise ValueError(
                f"futility={self.futility} must lie between 0 and 1: it is a chance. null never stops for futility."
            )
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin={self.margin} must be 0 or more, and below 1: it is a share, 0.01 is 1 point.")


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look found of one arm. Statistic and boundary are as normal quantiles, whatever the degrees of freedom."""

    seeds: int
    finding: Finding
    estimate: float  # a share
    p_value: float  # of the difference above -margin; NaN where there is none
    level: float  # at which it is tested
    interval: Interval  # repeated: all looks together cover the true difference with at least 95 % (of m arms: each by itself)
    information: float  # relative to the largest design, as estimated
    question_share: float  # of the variance of the largest design, as estimated
    statistic: float
    boundary: float
    conditional_power: float  # the chance of success with all seeds; NaN at the last look


def look_at(
    differences: Mapping[str, Difference], *, design: Design, place: int, family: int, decided: int = 0
) -> dict[str, Look]:
    """What look number `place`, from 0, says of each arm that is still open.

    Of the `family` arms of the study, `decided` were a success or harm before; those stopped for futility are neither open nor decided.
    """
    found: dict[str, Look] = {}
    open_arms = dict(differences)
    while open_arms:
        level = LEVEL / (family - decided - sum(_is_claim(one.finding) for one in found.values()))
        looks = {arm: _one_look(one, design=design, place=place, level=level) for arm, one in open_arms.items()}
        claimed = {arm: look for arm, look in looks.items() if _is_claim(look.finding)}
        found |= claimed or looks
        open_arms = {arm: one for arm, one in open_arms.items() if arm not in found}
    return {arm: found[arm] for arm in differences}


def _is_claim(finding: Finding) -> bool:
    return finding in (Finding.SUCCESS, Finding.HARM)


def _one_look(difference: Difference, *, design: Design, place: int, level: float) -> Look:
    seeds = design.seeds[place]
    share, cautious = (
        float(question_share(difference, seeds=seeds, most=design.seeds[-1], is_cautious=careful)) for careful in (False, True)
    )
    levels = levels_of_looks(design.seeds, share=cautious, spending=design.spending, level=level)
    shifted = replace(difference, estimate=difference.estimate + design.margin)
    p, harm_p = p_value(shifted), p_value(difference)
    power = math.nan
    if place + 1 < len(design.seeds) and not lacks_seed_spread(difference):
        power = float(conditional_power(shifted, seeds=seeds, most=design.seeds[-1], level=float(levels[-1])))
    return Look(
        seeds=seeds,
        finding=_finding(difference, p=p, harm_p=harm_p, level=float(levels[place]), power=power, design=design),
        estimate=difference.estimate,
        p_value=p,
        level=float(levels[place]),
        interval=difference.new_questions(confidence=1 - float(levels[place])),
        information=float(information(design.seeds, share=share)[place]),
        question_share=share,
        statistic=math.copysign(_z(p), shifted.estimate),
        boundary=_z(float(levels[place])),
        conditional_power=power,
    )


def _finding(difference: Difference, *, p: float, harm_p: float, level: float, power: float, design: Design) -> Finding:
    if p < level and difference.estimate > -design.margin:
        return Finding.SUCCESS
    if harm_p < level and difference.estimate < 0:
        return Finding.HARM
    if difference.num_seeds >= design.seeds[-1]:
        return Finding.OPEN
    return Finding.FUTILITY if design.futility is not None and power < design.futility else Finding.GO_ON


def _z(p: float) -> float:
    return float(-special.ndtri(p / 2))


@runtime_checkable
class Measured(Protocol):
    """A `Difference`, or many of them at once with arrays in place of numbers."""

    @property
    def estimate(self) -> Any: ...
    @property
    def variance_seeds(self) -> Any: ...
    @property
    def variance_questions(self) -> Any: ...
    @property
    def df_seeds(self) -> Any: ...
    @property
    def num_questions(self) -> int: ...


def question_share(difference: Measured, *, seeds: int, most: int, is_cautious: bool = False) -> Any:
    """Of the variance that the difference will have with `most` seeds, the part that comes from questions, as estimated.

    The cautious estimate takes the upper 97.5 % limit of the variance over seeds. With few seeds that variance is often underestimated, in
    the same studies whose statistic is too large: without caution the boundary would be too low just there.
    """
    of_seeds = difference.variance_seeds * seeds / most
    if is_cautious:
        of_seeds = of_seeds * difference.df_seeds / special.chdtri(difference.df_seeds, UPPER_LIMIT)
    return difference.variance_questions / np.maximum(of_seeds + difference.variance_questions, ROUNDING)


def conditional_power(difference: Measured, *, seeds: int, most: int, level: Any) -> Any:
    """The chance that a study that goes on to `most` seeds, and is tested at `level` then, ends in success.

    The seeds to come are like those seen: their mean and spread are as estimated, with Student's t for what few seeds leave open of both.
    So three seeds stop a study only where they speak clearly against it.
    """
    of_one = difference.variance_seeds * seeds
    t_seeds = special.stdtrit(difference.df_seeds * (most - 1) / (seeds - 1), 1 - level / 2)
    t_questions = special.stdtrit(difference.num_questions - 1, 1 - level / 2)
    needed = np.sqrt(t_seeds**2 * of_one / most + t_questions**2 * difference.variance_questions)
    to_come = (1 - seeds / most) * np.sqrt(of_one * (1 / (most - seeds) + 1 / seeds))
    return special.stdtr(difference.df_seeds, (difference.estimate - needed) / to_come)
