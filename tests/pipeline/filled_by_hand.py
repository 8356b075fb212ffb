"""Trajectories whose tokens say where they come from; run as a script, one of two ranks that fill batches together."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from vlm_rl.algorithms.dynamic_sampling import DynamicSampling
from vlm_rl.pipeline.batch_filling import BatchFilling, Filled
from vlm_rl.rewards.reward import RewardScores
from vlm_rl.types import ImageInput, Trajectory

GROUP, BATCH, PAD = 2, 4, 7
Values = Sequence[tuple[float, float]]  # of each query, the values of its two responses


def filling(*, metric: str = "accuracy", update_share: float = 1.0, patience: int = 100, num_steps: int = 1000) -> BatchFilling:
    """Batches of four groups of two."""
    settings = DynamicSampling(metric=metric, update_share=update_share, patience=patience)
    return BatchFilling(settings=settings, batch_size=BATCH, group_size=GROUP, num_steps=num_steps, pad_id=PAD)


def made(step: int, values: Values, *, rank: int = 0, num_ranks: int = 1) -> tuple[Trajectory, RewardScores]:
    """The share of a rank: queries of 1 + step tokens, responses of 1 + sample; a token says 100 x step + 10 x query + sample."""
    queries = range(rank, BATCH, num_ranks)
    rows = [(query, sample) for query in queries for sample in range(GROUP)]
    count = len(rows)
    response_mask = torch.arange(GROUP) <= torch.tensor([[sample] for _, sample in rows])
    mask = torch.cat([torch.ones(count, 1 + step, dtype=torch.bool), response_mask], dim=1)
    token = torch.tensor([[100 * step + 10 * query + sample] for query, sample in rows])
    scores = [float(values[query][sample]) for query, sample in rows]
    trajectory = Trajectory(
        indices=torch.tensor([query * GROUP + sample for query, sample in rows]),
        input_ids=torch.where(mask, token, PAD),
        attention_mask=mask,
        mm_token_type_ids=torch.zeros_like(mask).long(),
        position_ids=((mask.cumsum(1) - 1) * mask).expand(3, -1, -1),
        images=tuple(ImageInput(key=f"{step}-{query}", inputs={}, features=None) for query, _ in rows),
        response_mask=response_mask,
        terminated=torch.ones(count, dtype=torch.bool),
        scores=torch.tensor(scores),
        engine_logprobs=-(token * response_mask).float(),
        old_logprobs=None,
        ref_logprobs=None,
        rollout_weights=None,
        token_weights=torch.zeros(count, GROUP),
    )
    return trajectory, RewardScores(total=scores, terms={"accuracy": scores}, verdicts=[])


def added(fill: BatchFilling, step: int, values: Values, *, rank: int = 0, num_ranks: int = 1) -> Filled:
    """One generation step."""
    return fill.add(*made(step, values, rank=rank, num_ranks=num_ranks), step=step)


def main(folder: Path, rank: int) -> None:
    """Adds the steps of steps.json as one of two ranks and leaves what came out."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    fill, steps = filling(), json.loads((folder / "steps.json").read_text())
    torch.save(
        [added(fill, step, values, rank=rank, num_ranks=2) for step, values in enumerate(steps)], folder / f"rank-{rank}.pt"
    )
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
