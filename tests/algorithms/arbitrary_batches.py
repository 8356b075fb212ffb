"""Arbitrary batches of numbers, the same in every run, and all that an algorithm makes of one."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from every_algorithm import algorithm, without_kl
from torch import Tensor
from trajectories import bare, learning

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.types import MiniBatch, Trajectory

GROUP = 3
SEEDS = range(8)


def every(*names: str) -> Any:
    return pytest.mark.parametrize("name", names)


def numbers(shape: tuple[int, ...], *, seed: int) -> Tensor:
    """Between -2 and 0."""
    return -2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def a_batch(seed: int, *, least: int = 0, most: int = 4, terminated: bool | None = None) -> Trajectory:
    """One to three groups of three responses of 0 to 4 tokens, cut off or not, with old and reference log-probabilities.

    Even seeds have scores of which many are equal, odd ones any; the first response has the most tokens, so that there are some.
    """
    generator = torch.Generator().manual_seed(seed)
    count, first = GROUP * (1 + seed % 3), GROUP * (seed % 5)
    lengths = torch.randint(least, most + 1, (count,), generator=generator).tolist()
    ended = (torch.rand(count, generator=generator) < 0.6).tolist() if terminated is None else [terminated] * count
    some, any_score = torch.tensor([0.0, 1.0, 0.5, -0.25]), torch.randint(-30, 31, (count,), generator=generator) / 10
    scores = any_score if seed % 2 else some[torch.randint(4, (count,), generator=generator)]
    old, ref = (numbers((count, most), seed=seed + i) for i in (100, 200))
    whole = bare(
        [most, *lengths[1:]],
        scores=scores.tolist(),
        terminated=ended,
        indices=list(range(GROUP * first, GROUP * first + count)),
    )
    return replace(whole, old_logprobs=old * whole.response_mask, ref_logprobs=ref * whole.response_mask)


def grouped(name: str, **changes: object) -> Algorithm:
    """As shipped, in groups of three; a row of supervised fine-tuning has one solution."""
    return algorithm(name, **({} if name == "sft" else {"group_size": GROUP}) | changes)


def scored(name: str, **changes: object) -> Algorithm:
    """The same without KL terms."""
    return without_kl(name, group_size=GROUP, **changes)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """All that an algorithm makes of a batch."""

    advantages: Tensor
    weights: Tensor
    loss: Tensor
    gradient: Tensor


def policy_of(trajectory: Trajectory) -> Tensor:
    """New log-probabilities: the old ones, moved by up to 0.5 either way."""
    assert trajectory.old_logprobs is not None
    moved = trajectory.old_logprobs + 0.5 + numbers(trajectory.old_logprobs.shape, seed=7) / 2
    return torch.where(trajectory.response_mask, moved, 0.0)


def learned(chosen: Algorithm, trajectory: Trajectory, logprobs: Tensor) -> Learned:
    """One mini-batch of everything."""
    return learned_of(chosen, learning(chosen, trajectory), logprobs)


def learned_of(chosen: Algorithm, batch: MiniBatch, logprobs: Tensor) -> Learned:
    """A mini-batch, or a micro-batch whose advantages and token weights stem from the whole."""
    free = logprobs.clone().requires_grad_()
    loss = chosen.loss(free, batch).loss
    loss.backward()
    assert free.grad is not None
    return Learned(advantages=batch.advantages, weights=batch.token_weights, loss=loss.detach(), gradient=free.grad)


def assert_same(left: Learned, right: Learned) -> None:
    """Equal to rounding."""
    for one, other in zip(vars(left).values(), vars(right).values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-10)
