"""REINFORCE++ with a baseline (Hu et al., 2025, arXiv 2501.03262, its form with groups): the group centres, the batch scales.

    A = (r - mean of the group) / std of all centred scores of the batch

Unlike GRPO's, the deviation is nearly independent of a single score, and a group with little spread is not blown up.
"""

from dataclasses import dataclass
from typing import Literal

from vlm_rl.algorithms.groups import NO_SPREAD, group_centred, on_tokens
from vlm_rl.algorithms.losses import LossAverage, average_weights
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.masking import masked_whiten, pooled_std
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class ReinforcePlusPlusBaseline(PolicyGradient):
    """Where codes differ: `whiten_over` tokens (OpenRLHF) moves groups of equal scores too, as long responses shift the mean."""

    whiten_over: Literal["response", "token"]  # "response": a group of equal scores gets exactly 0; "token"
    loss_average: LossAverage  # "response" or "token"

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """One number for all tokens of a response, whitened over the global batch."""
        mask = trajectory.response_mask
        centred = group_centred(trajectory.scores, self.groups(trajectory))
        if self.whiten_over == "token":
            return masked_whiten(on_tokens(centred, mask), mask)
        spread = pooled_std(centred).clamp_min(NO_SPREAD)  # their mean over the batch is 0 already
        return on_tokens((centred / spread).to(centred.dtype), mask)

    def token_weights(self, mask: Mask) -> Tokens:
        return average_weights(mask, average=self.loss_average)
