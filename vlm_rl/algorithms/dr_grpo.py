"""Dr. GRPO (Liu et al., 2025, "Understanding R1-Zero-Like Training", arXiv 2503.20783): GRPO without its two divisions.

    A = r - mean of the group;   loss = sum over tokens / (responses x loss_length)

Dividing by the length of a response makes long wrong ones cheap; dividing by the group's std favours questions that are nearly
always or nearly never solved. The constant `loss_length` keeps the gradient unbiased; implementations take the largest length of a
response. All responses of a mini-batch are counted, also those that are empty or masked: otherwise it would not be constant.
"""

from dataclasses import dataclass

from vlm_rl.algorithms.groups import group_centred, on_tokens
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.masking import constant_length_weights
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class DrGrpo(PolicyGradient):
    """Its advantage is (G - 1) / G of leave-one-out's: the policy gradient up to that factor."""

    loss_length: int  # tokens

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.loss_length >= 1, "loss_length", "a number of tokens, such as dataset.max_new_tokens", "96")

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """In units of the score."""
        return on_tokens(group_centred(trajectory.scores, self.groups(trajectory)), trajectory.response_mask)

    def token_weights(self, mask: Mask) -> Tokens:
        return constant_length_weights(mask, length=self.loss_length)
