"""GRPO (Shao et al., 2024, arXiv 2402.03300): the group of responses to a query is its own baseline.

A = (r - mean of the group) / (std of the group + std_epsilon), the same for all tokens of a response
"""

from dataclasses import dataclass

from vlm_rl.algorithms.group_normalised import GroupNormalised
from vlm_rl.algorithms.groups import SCALES
from vlm_rl.algorithms.losses import LOSS_AVERAGES
from vlm_rl.types import Mask, Tokens


@dataclass(frozen=True, kw_only=True)
class GroupRelativePolicyOptimization(GroupNormalised):
    """Where codes differ: what the advantage is scaled by, the constant beside it, and how the loss is averaged."""

    scale_by: str  # "group"; "batch": std of all scores; "none": Dr. GRPO's advantage
    loss_average: str  # "response" (the paper) or "token"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("scale_by", SCALES)
        self.check_choice("loss_average", LOSS_AVERAGES)

    @property
    def scaled_by(self) -> str:
        return self.scale_by

    def token_weights(self, mask: Mask) -> Tokens:
        return LOSS_AVERAGES[self.loss_average](mask)
