"""GRPO (Shao et al., 2024, arXiv 2402.03300): the group of responses to a query is its own baseline."""

from dataclasses import dataclass

from vlm_rl.algorithms.algorithm import Algorithm, AlgorithmLoss
from vlm_rl.algorithms.groups import group_normalised
from vlm_rl.algorithms.losses import clipped_loss_with_kl
from vlm_rl.types import Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class GroupRelativePolicyOptimization(Algorithm):
    """Advantage of every token: (score - mean of the group) / std of the group; loss averaged per response, then over responses."""

    clip_low: float
    clip_high: float
    kl_loss_coef: float
    scale_by_std: bool  # False: Dr. GRPO's advantage

    @property
    def min_group_size(self) -> int:
        return 2

    @property
    def needs_reference(self) -> bool:
        return self.kl_loss_coef > 0

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """One number for all tokens of a response; a group of equal scores gets zero."""
        groups = trajectory.indices // self.group_size
        scores = group_normalised(trajectory.scores, groups, scale=self.scale_by_std)
        return scores[:, None] * trajectory.response_mask

    def loss(self, logprobs: Tokens, trajectory: Trajectory, advantages: Tokens) -> AlgorithmLoss:
        """Clipped policy loss plus the KL coefficient times k3 against the reference."""
        return clipped_loss_with_kl(
            logprobs,
            trajectory,
            advantages,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            kl_loss_coef=self.kl_loss_coef,
        )
