"""Weights for what the engine sampled from, on the tiny VLM, whose embedded engine is the trainer's own model."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_runs import Build, largest_difference, standing
from torch import Tensor

from vlm_rl.commands.build import Experiment
from vlm_rl.types import Trajectory


def gradient_of(experiment: Experiment, trajectory: Trajectory) -> dict[str, Tensor]:
    (gradient,) = standing(experiment, trajectory)[1].seen
    return gradient


def corrected(built: Build, kind: str) -> Experiment:
    """One update a step, so that only the correction needs old log-probabilities; no KL term."""
    single = ("algorithm.num_minibatches=1", "algorithm.kl_loss_coef=0", "algorithm.score_at=last_token", "parity.every=1000")
    return built(*single, f"algorithm/rollout_correction={kind}")


def later_trajectory(experiment: Experiment, *, noise: float = 0.0) -> Trajectory:
    """Steps I to III at a step at which no parity is due; the engine claims to be some nats away from what it is."""
    module = experiment.module
    queries = replace(module.data_flow.queries(0), step=1)
    responses = module.collect_responses(queries)
    drawn = torch.randn(responses.response_mask.shape, generator=torch.Generator().manual_seed(3)) * responses.response_mask
    responses = replace(responses, engine_logprobs=responses.engine_logprobs + noise * drawn)
    trajectory = module.generate_trajectory(queries, responses).trajectory
    return replace(trajectory, scores=torch.rand(len(trajectory), generator=torch.Generator().manual_seed(1)))


@pytest.mark.slow
def test_an_engine_that_is_somewhere_else_is_corrected(built: Build) -> None:
    experiment = corrected(built, "truncate")
    trajectory = later_trajectory(experiment, noise=1.0)
    assert trajectory.old_logprobs is not None and trajectory.rollout_weights is not None
    mask = trajectory.response_mask
    noise = (trajectory.old_logprobs - trajectory.engine_logprobs)[mask]
    torch.testing.assert_close(trajectory.rollout_weights[mask], noise.exp().clamp_max(2.0))
    share = float((trajectory.rollout_weights[mask] == 2.0).double().mean())
    assert share == pytest.approx(0.244, abs=0.1)  # a normal number above log 2
    without = gradient_of(experiment, replace(trajectory, rollout_weights=None))
    assert largest_difference(gradient_of(experiment, trajectory), without) > 0.05


@pytest.mark.slow
def test_a_log_probability_that_the_engine_does_not_know_is_never_a_weight_of_1(built: Build) -> None:
    experiment = corrected(built, "mask")
    trajectory = later_trajectory(experiment)
    engine = trajectory.engine_logprobs.clone()
    engine[3, 0] = math.nan
    assert trajectory.old_logprobs is not None
    weights = experiment.algorithm.rollout_correction.weights(trajectory.old_logprobs - engine, trajectory.response_mask)
    stats, hand = standing(experiment, replace(trajectory, engine_logprobs=engine, rollout_weights=weights))
    assert stats.skipped_updates == 1 and hand.seen == []
