"""A trajectory whose groups lie on ranks by hand, and what its updates leave behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from tiny_runs import Hand, Sheet, small, trained
from torch import Tensor

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.pipeline.step3_trajectory_generation import concatenate
from vlm_rl.pipeline.step4_policy_update import PolicyUpdate
from vlm_rl.rollout.written import finish
from vlm_rl.types import Trajectory, UpdateStats, extended, select

LEARNING_RATE = 0.01
LENGTHS = (3, 24, 9, 2, 17, 5, 40, 12)
RANK_OF_GROUP = {1: (0,) * 8, 2: (0, 1, 1, 1, 1, 0, 1, 1), 4: (0, 3, 0, 0, 2, 0, 3, 0)}  # rank 1 of 4 has no group
COMMON = ("algorithm.num_minibatches=2", "algorithm.ppo_epochs=2", "model.optimization.micro_batch_tokens=400")
ALGORITHMS = {
    "groups": ("algorithm=grpo", "algorithm.group_size=4", *COMMON),
    "single rows": ("algorithm=reinforce_pp", "algorithm.group_size=1", *COMMON),
    "single rows of groups": ("algorithm=dapo", "algorithm.group_size=4", "algorithm.minibatch_of=responses", *COMMON),
}


@dataclass(frozen=True, kw_only=True)
class Updated:
    """After the updates of one generation step."""

    stats: UpdateStats
    seen: list[dict[str, Tensor]]  # gradients of each update
    weights: dict[str, Tensor]
    tokens: int  # that went through the model on this rank, padding included


def rows() -> list[Row]:
    """Eight questions with no picture, or some of different sizes."""
    pictures = [tuple(Sheet(i, width=84 + 28 * i, height=56 + 28 * k) for k in range(i % 3)) for i in range(8)]
    return [
        Row(id=str(i), question=f"{'<image>' * len(shown)}What is {'1 + ' * i}1?", answer="1", solution="1", images=shown)
        for i, shown in enumerate(pictures)
    ]


def given(experiment: Experiment, *, order: Sequence[int]) -> Trajectory:
    """All responses of a step, of many lengths; the query `order[i]` comes i-th."""
    size, generator = experiment.algorithm.group_size, torch.Generator().manual_seed(4)
    ids = torch.randint(20, 60, (8 * size, max(LENGTHS)), generator=generator)
    lengths = torch.tensor(LENGTHS * size)[torch.randperm(8 * size, generator=generator)]
    ids[torch.arange(max(LENGTHS)) >= lengths[:, None]] = -1
    responses = finish(experiment.policy, ids, torch.zeros(ids.shape), size)
    queries = experiment.encoder.batch(rows(), indices=order, step=0)
    samples = concatenate(queries, responses, scores=torch.rand(8 * size, generator=generator))
    with torch.no_grad():
        logprobs = experiment.policy.statistics(samples).logprobs
    noise = 0.3 * torch.rand(logprobs.shape, generator=generator) * samples.response_mask
    weights = None if experiment.algorithm.rollout_correction.level == "none" else torch.ones_like(logprobs)
    return extended(samples, Trajectory, old_logprobs=logprobs + noise, ref_logprobs=logprobs - noise, rollout_weights=weights)


def part(trajectory: Trajectory, *, rank: int, num_ranks: int) -> Trajectory:
    """The groups of a rank: those that come first, third ..., not those of certain places."""
    ranks = torch.tensor(RANK_OF_GROUP[num_ranks]).repeat_interleave(len(trajectory) // 8)
    return select(trajectory, (ranks == rank).nonzero()[:, 0])


def updated(words: Sequence[str], trajectory: Trajectory) -> Updated:
    """The updates of a policy that is built for them, without AdamW, which makes a step of any rounding where a gradient is none."""
    experiment = small(*words, "model.optimization.max_grad_norm=1e9")
    plain = torch.optim.SGD(trained(experiment.policy).values(), lr=LEARNING_RATE)
    hand, read = Hand(experiment, optimizer=plain), list[int]()
    hidden = experiment.policy.hidden

    def noted(*, ids: Tensor, **others: Any) -> Tensor:
        read.append(ids.numel())
        return hidden(ids=ids, **others)

    update = PolicyUpdate(algorithm=experiment.algorithm, batch_size=8, seed=0, max_skipped_updates=1)
    with mock.patch.object(experiment.policy, "hidden", noted):
        stats = update.update(trajectory, experiment.policy, hand.stepper, step=0)
    experiment.reward.close()
    weights = {name: parameter.detach().clone() for name, parameter in trained(experiment.policy).items()}
    return Updated(stats=stats, seen=hand.seen, weights=weights, tokens=sum(read))
