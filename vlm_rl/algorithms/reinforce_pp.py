"""REINFORCE++ with a KL loss, the paper's algorithm (Eq. 1; Hu et al., 2025, arXiv 2501.03262). No critic.

    A_t = whitened over all tokens of the batch [ sum over k >= t of gamma^(k-t) (1(o_k = EOS) r - kl_reward_coef KL_k) ]

The mean over the batch is the baseline, so one response to a query is enough. The loss is that of policy_gradient.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from vlm_rl.algorithms.kl import KlEstimator, sampled_kl
from vlm_rl.algorithms.losses import LossAverage, average_weights
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.algorithms.returns import ScorePlace, discounted_returns, token_rewards
from vlm_rl.masking import masked_whiten
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class ReinforcePlusPlus(PolicyGradient):
    """Where authors differ: the place of the score, of the KL penalty (loss or reward), and how the loss is averaged."""

    gamma: float
    kl_reward_coef: float  # above 0 the KL penalty is a part of the reward
    kl_reward_estimator: KlEstimator
    score_at: ScorePlace  # "eos" (Eq. 1) or "last_token" (the authors' code)
    loss_average: LossAverage  # "response" (Eq. 1) or "token" (the authors' code)

    min_group_size: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(0 <= self.gamma <= 1, "gamma", "a discount in [0, 1]", "1.0")
        self.check(self.kl_reward_coef >= 0, "kl_reward_coef", "0 or more", "0")

    @property
    def has_kl_in_reward(self) -> bool:
        return self.kl_reward_coef > 0

    @property
    def rewards_only_ended_responses(self) -> bool:
        return self.score_at == "eos"

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """Returns of the scores less the KL penalty, centred and scaled; equal rewards give zero everywhere."""
        mask = trajectory.response_mask
        rewards = token_rewards(trajectory, score_at=self.score_at)
        if self.has_kl_in_reward:
            rewards = rewards - self.kl_reward_coef * sampled_kl(trajectory, estimator=self.kl_reward_estimator)
        return masked_whiten(discounted_returns(rewards, gamma=self.gamma) * mask, mask)

    def token_weights(self, mask: Mask) -> Tokens:
        return average_weights(mask, average=self.loss_average)
