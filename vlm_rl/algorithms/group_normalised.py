"""GRPO's advantage, which DAPO and GSPO share: the group centres and scales.

A = (r - mean of the group) / (std of the group + std_epsilon), the same for all tokens of a response
"""

from dataclasses import dataclass

from vlm_rl.algorithms.groups import group_normalised, on_tokens
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.types import Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class GroupNormalised(PolicyGradient):
    """Where codes differ: the constant beside the standard deviation."""

    std_epsilon: float  # 0 in the papers, 1e-6 in verl, 1e-4 in TRL

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.std_epsilon >= 0, "std_epsilon", "0 or more", "1e-4")

    @property
    def scaled_by(self) -> str:
        """Whose standard deviation: one of groups.SCALES."""
        return "group"

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """A group of equal scores gets zero."""
        groups = self.groups(trajectory)
        scores = group_normalised(trajectory.scores, groups, scale_by=self.scaled_by, std_epsilon=self.std_epsilon)
        return on_tokens(scores, trajectory.response_mask)
