"""The rule of vlm_rl/evaluation/sequential/looks.py over many replications of a study at once, pinned equal to it by a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from calibration_decisions import Differences, Flags
from calibration_world import Shares
from numpy.typing import NDArray

from vlm_rl.evaluation.sequential.boundary import levels_of_looks
from vlm_rl.evaluation.sequential.looks import Design, conditional_power, question_share
from vlm_rl.evaluation.verdict import LEVEL


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """How studies ended, one entry for each replication and arm."""

    improvement: Flags
    harm: Flags
    seeds: NDArray[np.int64]  # when the arm was decided or given up
    low: Shares  # ends of the repeated interval then
    high: Shares


def stopped(looks: Sequence[Differences], *, design: Design) -> Stopped:
    """`looks`: the differences of all arms at each look, (replications, arms). No margin."""
    shape = looks[0].estimate.shape
    is_open, claimed = np.ones(shape, dtype=bool), np.zeros(shape, dtype=bool)
    found = Stopped(
        improvement=claimed.copy(),
        harm=claimed.copy(),
        seeds=np.full(shape, design.seeds[-1]),
        low=np.full(shape, np.nan),
        high=np.full(shape, np.nan),
    )
    for place, now in enumerate(looks):
        levels = _levels(now, design=design, place=place)
        claims, level = _by_holm(now, levels=[one[place] for one in levels], is_open=is_open, claimed=claimed)
        stops = is_open & claims
        if place + 1 < len(looks):
            stops |= is_open & _is_futile(now, levels=levels, claimed=claimed | claims, design=design, place=place)
        else:
            stops = is_open
        width = now.half_width(confidence=1 - level)
        for values, new in (
            (found.low, now.estimate - width),
            (found.high, now.estimate + width),
            (found.seeds, design.seeds[place]),
        ):
            values[stops] = np.broadcast_to(new, shape)[stops]
        found.improvement[is_open & claims & (now.estimate > 0)] = True
        found.harm[is_open & claims & (now.estimate < 0)] = True
        claimed, is_open = claimed | (is_open & claims), is_open & ~stops
    return found


def _levels(now: Differences, *, design: Design, place: int) -> list[Shares]:
    """For as many undecided arms as there may be, from one on: the levels (looks, replications, arms)."""
    share = question_share(now, seeds=design.seeds[place], most=design.seeds[-1], is_cautious=True)
    arms = now.estimate.shape[1]
    return [levels_of_looks(design.seeds, share=share, spending=design.spending, level=LEVEL / (1 + k)) for k in range(arms)]


def _by_holm(now: Differences, *, levels: Sequence[Shares], is_open: Flags, claimed: Flags) -> tuple[Flags, Shares]:
    """What is claimed now, and the level at which each arm was tested last."""
    claims, level = np.zeros_like(claimed), levels[-1].copy()
    tested = [now.claims(level=one) for one in levels]
    while True:
        undecided = claimed.shape[1] - (claimed | claims).sum(axis=1, keepdims=True)
        place = np.maximum(undecided, 1) - 1
        more = claims | (is_open & ~claimed & np.choose(place, tested))
        level = np.where(claims, level, np.choose(place, list(levels)))
        if (more == claims).all():
            return claims, level
        claims = more


def _is_futile(now: Differences, *, levels: Sequence[Shares], claimed: Flags, design: Design, place: int) -> Flags:
    if design.futility is None:
        return np.zeros_like(claimed)
    undecided = np.maximum(claimed.shape[1] - claimed.sum(axis=1, keepdims=True), 1) - 1
    last = np.choose(undecided, [one[-1] for one in levels])
    with np.errstate(divide="ignore", invalid="ignore"):
        power = conditional_power(now, seeds=design.seeds[place], most=design.seeds[-1], level=last)
    return np.asarray(now.judged & (power < design.futility))
