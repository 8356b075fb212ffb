"""RLOO (Kool et al., 2019; Ahmadian et al., 2024, "Back to Basics", arXiv 2402.14740): REINFORCE, each response against the others.

    A = R - mean of the other responses' R,   R = r - kl_reward_coef sum over t of KL_t

The baseline does not depend on the response itself, so the gradient is unbiased. The whole response is one action: its probability
is a product over tokens, and so is the ratio. The paper makes one update of a batch; where a batch has several, the ratio is clipped here.
"""

from dataclasses import dataclass
from typing import Literal

from vlm_rl.algorithms.groups import leave_one_out, on_tokens
from vlm_rl.algorithms.kl import KlEstimator, sampled_kl
from vlm_rl.algorithms.losses import sequence_ratio, token_ratio
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.masking import masked_whiten
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class Rloo(PolicyGradient):
    """Where codes differ: whether the ratio is the response's (TRL) or each token's (verl), and whether advantages are whitened."""

    kl_reward_coef: float  # above 0 the KL penalty is a part of the reward
    kl_reward_estimator: KlEstimator
    ratio_level: Literal["token", "sequence"]  # "sequence": the product over the response
    whiten: bool  # over the responses of the batch

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.kl_reward_coef >= 0, "kl_reward_coef", "0 or more", "0")

    @property
    def ratio_is_of_responses(self) -> bool:
        return self.ratio_level == "sequence"

    @property
    def has_kl_in_reward(self) -> bool:
        return self.kl_reward_coef > 0

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """In units of the score, unless whitened."""
        mask, rewards = trajectory.response_mask, trajectory.scores
        if self.has_kl_in_reward:
            rewards = rewards - self.kl_reward_coef * sampled_kl(trajectory, estimator=self.kl_reward_estimator).sum(1)
        advantages = leave_one_out(rewards, self.groups(trajectory))
        if self.whiten:
            advantages = masked_whiten(advantages[:, None], mask.any(1, keepdim=True))[:, 0]
        return on_tokens(advantages, mask)

    def ratio(self, logprobs: Tokens, old_logprobs: Tokens, mask: Mask) -> Tokens:
        ratio = sequence_ratio if self.ratio_level == "sequence" else token_ratio
        return ratio(logprobs, old_logprobs, mask)
