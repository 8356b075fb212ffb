"""GRPO (Shao et al., 2024, arXiv 2402.03300): the group of responses to a query is its own baseline.

A = (r - mean of the group) / (std of the group + std_epsilon), the same for all tokens of a response
"""

from dataclasses import dataclass

from vlm_rl.algorithms.groups import SCALES, group_normalised, on_tokens
from vlm_rl.algorithms.losses import LOSS_AVERAGES
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class GroupRelativePolicyOptimization(PolicyGradient):
    """Where codes differ: what the advantage is scaled by, the constant beside it, and how the loss is averaged."""

    scale_by: str  # "group"; "batch": std of all scores; "none": Dr. GRPO's advantage
    std_epsilon: float  # 0 in the paper, 1e-6 in verl, 1e-4 in TRL
    loss_average: str  # "response" (the paper) or "token"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("scale_by", SCALES)
        self.check_choice("loss_average", LOSS_AVERAGES)
        self.check(self.std_epsilon >= 0, "std_epsilon", "0 or more", "1e-4")

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """A group of equal scores gets zero."""
        groups = self.groups(trajectory)
        scores = group_normalised(trajectory.scores, groups, scale_by=self.scale_by, std_epsilon=self.std_epsilon)
        return on_tokens(scores, trajectory.response_mask)

    def token_weights(self, mask: Mask) -> Tokens:
        return LOSS_AVERAGES[self.loss_average](mask)
