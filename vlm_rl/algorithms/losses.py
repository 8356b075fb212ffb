"""Policy-gradient losses of single tokens; `token_weights` of the trajectory average them."""

from dataclasses import dataclass

import torch

from vlm_rl.algorithms.algorithm import AlgorithmLoss
from vlm_rl.algorithms.kl import k3
from vlm_rl.masking import weighted_sum
from vlm_rl.types import Mask, Tokens, Trajectory


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


def clipped_loss_with_kl(
    logprobs: Tokens,
    trajectory: Trajectory,
    advantages: Tokens,
    *,
    clip_low: float,
    clip_high: float,
    kl_loss_coef: float,
) -> AlgorithmLoss:
    """Eq. 1: the clipped policy loss plus beta_loss times k3 against the reference, averaged by the token weights."""
    mask, weights = trajectory.response_mask, trajectory.token_weights
    old = trajectory.old_logprobs if trajectory.old_logprobs is not None else logprobs.detach()
    tokens = clipped_policy_loss(logprobs, old, advantages, clip_low=clip_low, clip_high=clip_high)
    loss, kl = weighted_sum(tokens.loss, weights, mask), None
    if trajectory.ref_logprobs is not None:
        kl = k3(logprobs, trajectory.ref_logprobs)
        loss = loss + kl_loss_coef * weighted_sum(kl, weights, mask)
    return AlgorithmLoss(loss=loss, kl=None if kl is None else kl.detach(), ratio=tokens.ratio, clipped=tokens.clipped & mask)
