"""Responses whose ratios of trainer to engine are round numbers, and what two ranks report that share them."""

import math
from dataclasses import replace
from pathlib import Path

import torch
from forked import run_case
from trajectories import bare

from vlm_rl.algorithms.rollout_correction import NoCorrection, RatioMask, RolloutCorrection, TruncatedImportanceSampling
from vlm_rl.callbacks.recorder import engine_metrics
from vlm_rl.types import Trajectory, select

RATIOS = [[0.4, 3.0, 1.5], [0.5, 0.8, 1.0], [1.0, 1.0, 1.0]]  # trainer / engine; the responses have 3, 2 and 0 tokens
TOKEN = TruncatedImportanceSampling(level="token", max_ratio=2.0)
SEQUENCE = RatioMask(level="sequence", min_ratio=0.5, max_ratio=2.0)
NONE = NoCorrection()


def known(correction: RolloutCorrection) -> Trajectory:
    """Off the mask stands what must not count."""
    old = torch.full((3, 3), -1.0)
    engine = old - torch.tensor(RATIOS).log()
    engine[1, 2], engine[2] = math.nan, 9.0
    trajectory = bare([3, 2, 0], scores=[0.0] * 3, old=old, engine=engine)
    weights = correction.weights(old - engine, trajectory.response_mask) if correction.level != "none" else None
    return replace(trajectory, rollout_weights=weights)


def reported(folder: Path, rank: int) -> list[dict[str, float]]:
    """The first rank holds one response, the second the two others."""
    rows = torch.tensor([[0], [1, 2]][rank])
    return [engine_metrics(select(known(correction), rows), correction=correction) for correction in (NONE, TOKEN, SEQUENCE)]


if __name__ == "__main__":
    run_case(reported)
