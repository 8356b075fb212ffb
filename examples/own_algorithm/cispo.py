"""CISPO (MiniMax-M1, arXiv 2506.13585, Eq. 4): REINFORCE with a capped importance weight. No token loses its gradient to a clip."""

from dataclasses import dataclass

from vlm_rl.algorithms.groups import group_normalised, on_tokens
from vlm_rl.algorithms.losses import ClippedTokens
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.masking import token_mean_weights
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class Cispo(PolicyGradient):
    def advantages(self, trajectory: Trajectory) -> Tokens:
        scores = group_normalised(trajectory.scores, self.groups(trajectory), scale_by="group", std_epsilon=1e-4)
        return on_tokens(scores, trajectory.response_mask)

    def policy_loss(self, ratio: Tokens, logprobs: Tokens, advantages: Tokens) -> ClippedTokens:
        weight = ratio.detach().clamp(1 - self.clip_low, 1 + self.clip_high)
        return ClippedTokens(loss=-weight * advantages * logprobs, ratio=ratio.detach(), clipped=weight != ratio)

    def token_weights(self, mask: Mask) -> Tokens:
        return token_mean_weights(mask)
