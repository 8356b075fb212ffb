"""REINFORCE++ with a KL loss, the paper's algorithm (Eq. 1; Hu et al., 2025, arXiv 2501.03262). No critic."""

from dataclasses import dataclass

from vlm_rl.algorithms.algorithm import Algorithm, AlgorithmLoss
from vlm_rl.algorithms.kl import k1
from vlm_rl.algorithms.losses import clipped_loss_with_kl
from vlm_rl.algorithms.returns import SCORE_PLACES, discounted_returns
from vlm_rl.masking import masked_whiten
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class ReinforcePlusPlus(Algorithm):
    """A_t = sum over k >= t of gamma^(k-t) [1(o_k = EOS) r - beta_rew KL_k], whitened over the global batch."""

    clip_low: float
    clip_high: float
    gamma: float
    kl_loss_coef: float
    kl_reward_coef: float
    score_at: str  # "eos" (Eq. 1) or "last_token" (the authors' code)
    mask_truncated: bool  # leave responses that were cut off out of the loss

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score_at not in SCORE_PLACES:
            raise ValueError(f"algorithm.score_at is {self.score_at!r}; it is one of {', '.join(SCORE_PLACES)}.")

    @property
    def needs_reference(self) -> bool:
        return self.kl_loss_coef > 0 or self.kl_reward_coef > 0

    @property
    def needs_old_logprobs(self) -> bool:
        return self.num_updates > 1 or self.kl_reward_coef > 0

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """Returns of the scores less the KL penalty, centred and scaled; equal rewards give zero everywhere."""
        mask = trajectory.response_mask
        rewards = SCORE_PLACES[self.score_at](trajectory.scores, mask, terminated=trajectory.terminated)
        if self.kl_reward_coef > 0:
            assert trajectory.old_logprobs is not None and trajectory.ref_logprobs is not None
            rewards = rewards - self.kl_reward_coef * mask * k1(trajectory.old_logprobs, trajectory.ref_logprobs)
        return masked_whiten(discounted_returns(rewards, gamma=self.gamma) * mask, mask)

    def learned_tokens(self, trajectory: Trajectory) -> Mask:
        """All tokens, or those of responses that ended by themselves; advantages are whitened over all in either case."""
        mask = trajectory.response_mask
        return mask & trajectory.terminated[:, None] if self.mask_truncated else mask

    def loss(self, logprobs: Tokens, trajectory: Trajectory, advantages: Tokens) -> AlgorithmLoss:
        """Eq. 1: clipped policy loss plus beta_loss times k3 against the reference."""
        return clipped_loss_with_kl(
            logprobs,
            trajectory,
            advantages,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            kl_loss_coef=self.kl_loss_coef,
        )
