"""The KL penalty as a part of the reward, which REINFORCE++ and RLOO share: a number that is not differentiated."""

from dataclasses import dataclass

import torch

from vlm_rl.algorithms.kl import KL_ESTIMATORS
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.types import Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class KlInReward(PolicyGradient):
    """Asks for the reference, and for the old policy, only where the coefficient is above 0."""

    kl_reward_coef: float
    kl_reward_estimator: str  # k1, k2 or k3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.kl_reward_coef >= 0, "kl_reward_coef", "0 or more", "0")
        self.check_choice("kl_reward_estimator", KL_ESTIMATORS)

    @property
    def needs_reference(self) -> bool:
        return super().needs_reference or self.kl_reward_coef > 0

    @property
    def needs_old_logprobs(self) -> bool:
        return super().needs_old_logprobs or self.kl_reward_coef > 0

    def sampled_kl(self, trajectory: Trajectory) -> Tokens:
        """KL(old policy, reference) at each token; 0 off the mask, and everywhere if nobody asks for it."""
        if self.kl_reward_coef == 0:
            return torch.zeros_like(trajectory.engine_logprobs)
        assert trajectory.old_logprobs is not None and trajectory.ref_logprobs is not None
        kl = KL_ESTIMATORS[self.kl_reward_estimator](trajectory.old_logprobs, trajectory.ref_logprobs)
        return kl * trajectory.response_mask
