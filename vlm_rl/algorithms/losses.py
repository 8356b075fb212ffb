"""Policy-gradient losses of single tokens; `token_weights` of the trajectory average them."""

from dataclasses import dataclass

import torch

from vlm_rl.types import Mask, Tokens


@dataclass(frozen=True, kw_only=True)
class ClippedTokens:
    """Of each token: its loss, its probability ratio, and whether the clip held its gradient back."""

    loss: Tokens
    ratio: Tokens
    clipped: Mask


def clipped_policy_loss(
    logprobs: Tokens, old_logprobs: Tokens, advantages: Tokens, *, clip_low: float, clip_high: float
) -> ClippedTokens:
    """Eq. 1, first term, with its sign: -min(ratio A, clip(ratio, 1 - clip_low, 1 + clip_high) A)."""
    ratio = (logprobs - old_logprobs).exp()
    free = ratio * advantages
    held = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    return ClippedTokens(loss=-torch.minimum(free, held), ratio=ratio.detach(), clipped=(held < free).detach())
