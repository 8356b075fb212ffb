"""Policy-gradient losses of single tokens, and how they are averaged over a mini-batch.

A ratio has one value for each token. Where it belongs to the whole response, all tokens of the response hold the same value, and
the mean over the tokens of a response is that value.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from vlm_rl.algorithms.kl import LOG_RATIO_LIMIT
from vlm_rl.masking import response_mean_weights, token_mean_weights
from vlm_rl.types import Mask, Tokens

LossAverage = Literal["response", "token"]  # the mean of each response and then over responses, or over all tokens at once


def token_ratio(logprobs: Tokens, old_logprobs: Tokens, mask: Mask) -> Tokens:
    """pi(o_t) / pi_old(o_t): Eq. 1, PPO, GRPO."""
    return _ratio(torch.where(mask, logprobs - old_logprobs, 0.0))


def sequence_ratio(logprobs: Tokens, old_logprobs: Tokens, mask: Mask) -> Tokens:
    """pi(o) / pi_old(o) of the whole response, the product of its tokens' ratios: RLOO."""
    total = torch.where(mask, logprobs - old_logprobs, 0.0).sum(1, keepdim=True)
    return _ratio(total.expand(mask.shape))


def geometric_mean_ratio(logprobs: Tokens, old_logprobs: Tokens, mask: Mask) -> Tokens:
    """(pi(o) / pi_old(o))^(1/|o|): GSPO, arXiv 2507.18071, Eq. 7."""
    total = torch.where(mask, logprobs - old_logprobs, 0.0).sum(1, keepdim=True)
    return _ratio((total / mask.sum(1, keepdim=True).clamp_min(1)).expand(mask.shape))


def _ratio(log_ratio: Tokens) -> Tokens:
    return log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()  # an infinite ratio has no gradient but NaN


@dataclass(frozen=True, kw_only=True)
class ClippedTokens:
    """Of each token: its loss, its probability ratio, and whether the clip held its gradient back."""

    loss: Tokens
    ratio: Tokens
    clipped: Mask


def clipped_policy_loss(ratio: Tokens, advantages: Tokens, *, clip_low: float, clip_high: float) -> ClippedTokens:
    """Eq. 1, first term, with its sign: -min(ratio A, clip(ratio, 1 - clip_low, 1 + clip_high) A)."""
    surrogate = ratio * advantages
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    return ClippedTokens(loss=-torch.minimum(surrogate, clipped), ratio=ratio.detach(), clipped=(clipped < surrogate).detach())


def average_weights(mask: Mask, *, average: LossAverage) -> Tokens:
    """The weight of each token in the loss of a mini-batch; they add up to 1 over all ranks."""
    return response_mean_weights(mask) if average == "response" else token_mean_weights(mask)
