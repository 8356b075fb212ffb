"""`python train.py ...` of ranks that begin with unequal weights; each leaves the sum of its trained weights before and after.

Rank 1's weights change in `setup`, before DDP wraps the model; `after` is at the first training step.
"""

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from vlm_rl.commands.train import main
from vlm_rl.module import VLMReinforcement

RANK = int(os.environ.get("RANK", "0"))
step = VLMReinforcement.training_step
seen: dict[str, list[float]] = {}


def sums(module: VLMReinforcement) -> list[float]:
    """Of each trained weight, in float64."""
    return [float(parameter.detach().double().abs().sum()) for parameter in module.policy.trained_parameters]


def setup(module: VLMReinforcement, stage: str) -> None:
    """Before DDP."""
    with torch.no_grad():
        for parameter in module.policy.trained_parameters if RANK == 1 else ():
            parameter += 0.25
    seen["before"] = sums(module)


def first_step(module: VLMReinforcement, queries: Any, batch_idx: int) -> None:
    """What the policy samples with."""
    if "after" not in seen:
        seen["after"] = sums(module)
        Path(f"weights-of-rank-{RANK}.json").write_text(json.dumps(seen))
    step(module, queries, batch_idx)


if __name__ == "__main__":
    with mock.patch.object(VLMReinforcement, "setup", setup), mock.patch.object(VLMReinforcement, "training_step", first_step):
        main()
