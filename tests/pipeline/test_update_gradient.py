"""The gradient that the optimizer sees, against the loss of Eq. 1 written in one piece and differentiated at once."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_runs import Build, largest_difference, standing, trained
from torch import Tensor

from vlm_rl.commands.build import Experiment
from vlm_rl.types import Trajectory


def off_policy(trajectory: Trajectory) -> Trajectory:
    """Old and reference log-probabilities that differ from the policy's, and every second response cut off."""
    noise = torch.rand(trajectory.response_mask.shape, generator=torch.Generator().manual_seed(2)) * trajectory.response_mask
    base = trajectory.engine_logprobs
    ended = torch.arange(len(trajectory)) % 2 == 0
    return replace(trajectory, old_logprobs=base + 0.5 * noise, ref_logprobs=base - 0.2 * noise, terminated=ended)


def in_one_piece(experiment: Experiment, trajectory: Trajectory, *, rows: list[int]) -> Tensor:
    """Mean over the responses of the mean over their tokens of -min(ratio A, clip(ratio) A) + beta k3."""
    advantages = experiment.algorithm.advantages(trajectory)
    logprobs = experiment.policy.statistics(trajectory).logprobs
    assert trajectory.old_logprobs is not None and trajectory.ref_logprobs is not None
    ratio, d = (logprobs - trajectory.old_logprobs).exp(), trajectory.ref_logprobs - logprobs
    tokens = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages) + 0.1 * (d.exp() - d - 1)
    return torch.stack([tokens[i, trajectory.response_mask[i]].mean() for i in rows]).mean()


@pytest.mark.parametrize("mask_truncated", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_gradient_is_that_of_equation_1(built: Build, trajectory: Trajectory, mask_truncated: bool) -> None:
    experiment = built(
        "algorithm.group_size=2",
        "algorithm.num_minibatches=1",
        "algorithm.kl_loss_coef=0.1",
        "algorithm.score_at=last_token",
        f"algorithm.mask_truncated={mask_truncated}",
        "model.optimization.max_grad_norm=1e9",
        "model.optimization.micro_batch_tokens=400",
    )
    policy, given = experiment.policy, off_policy(trajectory)
    loss = in_one_piece(experiment, given, rows=list(range(0, 16, 2 if mask_truncated else 1)))
    names = list(trained(policy))
    expected = dict(zip(names, torch.autograd.grad(loss, list(trained(policy).values())), strict=True))
    stats, hand = standing(experiment, given)
    assert len(hand.losses) > 1  # several micro-batches
    assert stats.loss == pytest.approx(loss.item(), rel=1e-5, abs=1e-7)
    assert stats.gradient_norm == pytest.approx(math.sqrt(sum(float(g.square().sum()) for g in expected.values())), rel=1e-4)
    assert largest_difference(hand.seen[0], expected) < 2e-5
