"""What all policy gradients share: a clipped surrogate, a KL loss, and a correction for what the engine sampled from.

    loss = sum_t weight_t [ -c_t min(ratio_t A_t, clip(ratio_t, 1 - clip_low, 1 + clip_high) A_t) + kl_loss_coef KL_t ]

An algorithm says what A is (`advantages`), and where it differs, what the ratio is (`ratio`), what stands in place of the minimum
(`policy_loss`), how tokens are averaged (`token_weights`) and which count (`loss_mask`). c is the rollout correction, 1 without.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from vlm_rl.algorithms.algorithm import Algorithm, AlgorithmLoss
from vlm_rl.algorithms.groups import Groups
from vlm_rl.algorithms.kl import KL_ESTIMATORS, k3
from vlm_rl.algorithms.losses import ClippedTokens, clipped_policy_loss, token_ratio
from vlm_rl.masking import weighted_sum
from vlm_rl.types import Mask, MiniBatch, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class PolicyGradient(Algorithm):
    """An algorithm that learns from the policy's own responses. Subclasses add `advantages` and the choices of their papers."""

    clip_low: float  # how far below 1 a ratio may be and still have a gradient
    clip_high: float  # how far above 1; clip-higher (DAPO): larger than clip_low
    kl_loss_coef: float
    kl_loss_estimator: Literal["k2", "k3"]  # the mean gradient of k1 is zero: it belongs in a reward
    mask_truncated: bool  # leave responses that were cut off out of the loss

    min_group_size: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(0 <= self.clip_low <= 1, "clip_low", "a share of the ratio in [0, 1]", "0.2")
        self.check(self.clip_high >= 0, "clip_high", "0 or more", "0.2")
        self.check(self.kl_loss_coef >= 0, "kl_loss_coef", "0 or more", "0")
        if self.dynamic_sampling is not None and self.group_size < 2:
            raise ValueError(
                f"algorithm/dynamic_sampling keeps groups whose responses differ, but algorithm.group_size={self.group_size} "
                "makes no groups. Set algorithm.group_size=8, or switch it off by algorithm.dynamic_sampling=null."
            )
        if self.ratio_is_of_responses and self.rollout_correction.level == "token":
            raise ValueError(
                f"algorithm.rollout_correction.level=token corrects single tokens, but {type(self).__name__} has one ratio for the whole "
                "response. Set algorithm.rollout_correction.level=sequence."
            )

    @property
    def ratio_is_of_responses(self) -> bool:
        """True where all tokens of a response share one ratio."""
        return False

    @property
    def has_kl_in_reward(self) -> bool:
        """Whether a KL penalty is a part of the reward, which needs the old policy and the reference."""
        return False

    @property
    def needs_reference(self) -> bool:
        return self.kl_loss_coef > 0 or self.has_kl_in_reward

    @property
    def needs_old_logprobs(self) -> bool:
        return super().needs_old_logprobs or self.rollout_correction.level != "none" or self.has_kl_in_reward

    def groups(self, trajectory: Trajectory) -> Groups:
        """Which query each response answers."""
        return trajectory.indices // self.group_size

    @abstractmethod
    def advantages(self, trajectory: Trajectory) -> Tokens: ...

    def ratio(self, logprobs: Tokens, old_logprobs: Tokens, mask: Mask) -> Tokens:
        """New over old probability of each token, unless an algorithm overrides it."""
        return token_ratio(logprobs, old_logprobs, mask)

    def policy_loss(self, ratio: Tokens, logprobs: Tokens, advantages: Tokens) -> ClippedTokens:
        """The loss of each token before correction, averages and KL: PPO's, unless an algorithm overrides it."""
        return clipped_policy_loss(ratio, advantages, clip_low=self.clip_low, clip_high=self.clip_high)

    def loss_mask(self, trajectory: Trajectory) -> Mask:
        """All tokens, or those of responses that ended by themselves; advantages are made from all responses in either case."""
        mask = trajectory.response_mask
        return mask & trajectory.terminated[:, None] if self.mask_truncated else mask

    def loss(self, logprobs: Tokens, batch: MiniBatch) -> AlgorithmLoss:
        """The formula at the top of this file; values outside the mask do not count."""
        mask, weights = batch.response_mask, batch.token_weights
        old = logprobs.detach() if batch.old_logprobs is None else batch.old_logprobs
        ratio = self.ratio(logprobs, old, mask)
        tokens = self.policy_loss(ratio, logprobs, batch.advantages)
        corrected = tokens.loss if batch.rollout_weights is None else tokens.loss * batch.rollout_weights
        loss, kl = weighted_sum(corrected, weights, mask), None
        if batch.ref_logprobs is not None:
            penalty = KL_ESTIMATORS[self.kl_loss_estimator](logprobs, batch.ref_logprobs)
            loss = loss + self.kl_loss_coef * weighted_sum(penalty, weights, mask)
            kl = k3(logprobs, batch.ref_logprobs).detach()
        return AlgorithmLoss(loss=loss, kl=kl, ratio=tokens.ratio, clipped=tokens.clipped & mask)
