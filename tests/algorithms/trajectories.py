"""Trajectories and mini-batches of numbers alone, for algorithms that never see a model."""

import torch
from torch import Tensor

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.types import MiniBatch, Trajectory, extended


def bare(
    lengths: list[int],
    *,
    scores: list[float],
    terminated: list[bool] | None = None,
    old: Tensor | None = None,
    ref: Tensor | None = None,
    engine: Tensor | None = None,
    rollout_weights: Tensor | None = None,
    indices: list[int] | None = None,
) -> Trajectory:
    """One query token and a response of the given length for each row; 0 off the mask."""
    count, width = len(lengths), max(lengths)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    ids = torch.zeros(count, 1 + width, dtype=torch.long)
    return Trajectory(
        indices=torch.tensor(range(count) if indices is None else indices),
        input_ids=ids,
        attention_mask=torch.cat([torch.ones(count, 1, dtype=torch.bool), mask], dim=1),
        mm_token_type_ids=ids,
        position_ids=ids[None],
        images=(None,) * count,
        response_mask=mask,
        terminated=torch.tensor(terminated if terminated is not None else [True] * count),
        scores=torch.tensor(scores),
        engine_logprobs=torch.zeros(count, width) if engine is None else engine,
        old_logprobs=old,
        ref_logprobs=ref,
        rollout_weights=rollout_weights,
    )


def mini_batch(trajectory: Trajectory, *, advantages: Tensor, weights: Tensor) -> MiniBatch:
    """With these advantages and shares in the loss, whatever an algorithm would make of it."""
    return extended(trajectory, MiniBatch, advantages=advantages, token_weights=weights)


def learning(algorithm: Algorithm, trajectory: Trajectory) -> MiniBatch:
    """All rows as one mini-batch, as Step IV makes it."""
    weights = algorithm.token_weights(algorithm.loss_mask(trajectory))
    return mini_batch(trajectory, advantages=algorithm.advantages(trajectory), weights=weights)


def random_logprobs(trajectory: Trajectory, *, seed: int) -> Tensor:
    """Something negative under the mask and 0 off it."""
    numbers = torch.rand(trajectory.response_mask.shape, generator=torch.Generator().manual_seed(seed))
    return -2 * numbers * trajectory.response_mask
