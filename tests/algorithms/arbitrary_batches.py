"""Batches of numbers for hypothesis, and all that an algorithm makes of one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from every_algorithm import algorithm, without_kl
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor
from trajectories import bare, learning

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.types import MiniBatch, Trajectory

GROUP = 3
SCORES = st.one_of(st.sampled_from([0.0, 1.0, 0.5, -0.25]), st.integers(-30, 30).map(lambda tenths: tenths / 10))
Property = Callable[..., None]


def examples(count: int) -> Callable[[Property], Property]:
    return settings(
        max_examples=count, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )


def every(*names: str) -> Any:
    return pytest.mark.parametrize("name", names)


def numbers(shape: tuple[int, ...], *, seed: int) -> Tensor:
    """Between -2 and 0."""
    return -2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@st.composite
def batches(draw: st.DrawFn, *, least: int = 0, most: int = 4, terminated: bool | None = None) -> Trajectory:
    """One to three groups of three responses of 0 to 4 tokens, cut off or not, with old and reference log-probabilities."""
    count = GROUP * draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(least, most), min_size=count, max_size=count).filter(any))
    ended = draw(st.lists(st.booleans() if terminated is None else st.just(terminated), min_size=count, max_size=count))
    scores = draw(st.lists(SCORES, min_size=count, max_size=count))
    first, seed = draw(st.integers(0, 5)), draw(st.integers(0, 2**20))
    old, ref = (numbers((count, max(lengths)), seed=seed + i) for i in (0, 1))
    indices = list(range(GROUP * first, GROUP * first + count))
    whole = bare(lengths, scores=scores, terminated=ended, indices=indices)
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
