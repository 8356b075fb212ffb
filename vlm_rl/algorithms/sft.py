"""Supervised fine-tuning on worked solutions, the paper's baseline, as an algorithm like the others."""

from dataclasses import dataclass, field

import torch

from vlm_rl.algorithms.algorithm import Algorithm, AlgorithmLoss
from vlm_rl.algorithms.rollout_correction import NoCorrection
from vlm_rl.masking import token_mean_weights, weighted_sum
from vlm_rl.types import Mask, MiniBatch, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class SupervisedFineTuning(Algorithm):
    """Mean negative log-likelihood of the solution's tokens, EOS included, over all tokens of a mini-batch."""

    rollout_correction: NoCorrection = field(default=NoCorrection(), init=False)  # a teacher does not sample
    dynamic_sampling: None = field(default=None, init=False)  # one solution is no group

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.group_size == 1, "group_size", "1: a row has one solution", "1")

    @property
    def learns_from_own_responses(self) -> bool:
        return False

    @property
    def needs_old_logprobs(self) -> bool:
        return False

    @property
    def needs_reference(self) -> bool:
        return False

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """Every token of a solution counts the same."""
        return torch.ones_like(trajectory.engine_logprobs) * trajectory.response_mask

    def loss(self, logprobs: Tokens, batch: MiniBatch) -> AlgorithmLoss:
        """Negative log-likelihood; a weighted sum, so micro-batches add up."""
        loss = weighted_sum(-logprobs * batch.advantages, batch.token_weights, batch.response_mask)
        return AlgorithmLoss(loss=loss, kl=None, ratio=None, clipped=None)

    def token_weights(self, mask: Mask) -> Tokens:
        """The mean over all tokens, as is usual for language modelling."""
        return token_mean_weights(mask)
