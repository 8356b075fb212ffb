"""GRPO (Shao et al., 2024, arXiv 2402.03300): the group of responses to a query is its own baseline.

    A = (r - mean of the group) / (std of the group + std_epsilon), the same for all tokens of a response
    loss = - mean of min(ratio A, clip(ratio, 1 - clip_low, 1 + clip_high) A) + kl_loss_coef KL(policy, reference)

The loss is that of policy_gradient.py, with the ratio of each token.
"""

from dataclasses import dataclass

from vlm_rl.algorithms.groups import Scale, group_normalised, on_tokens
from vlm_rl.algorithms.losses import LossAverage, average_weights
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class GroupRelativePolicyOptimization(PolicyGradient):
    """Where codes differ: what the advantage is scaled by, the constant beside it, and how the loss is averaged."""

    scale_by: Scale  # "group"; "batch": std of all scores; "none": Dr. GRPO's advantage
    std_epsilon: float  # 0 in the paper, 1e-6 in verl, 1e-4 in TRL
    loss_average: LossAverage  # "response" (the paper) or "token"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.std_epsilon >= 0, "std_epsilon", "0 or more", "1e-4")

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """A group of equal scores gets zero."""
        groups = self.groups(trajectory)
        scores = group_normalised(trajectory.scores, groups, scale_by=self.scale_by, std_epsilon=self.std_epsilon)
        return on_tokens(scores, trajectory.response_mask)

    def token_weights(self, mask: Mask) -> Tokens:
        return average_weights(mask, average=self.loss_average)
