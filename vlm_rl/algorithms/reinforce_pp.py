"""REINFORCE++ with a KL loss, the paper's algorithm (Eq. 1; Hu et al., 2025, arXiv 2501.03262). No critic.

    A_t = whitened over all tokens of the batch [ sum over k >= t of gamma^(k-t) (1(o_k = EOS) r - kl_reward_coef KL_k) ]

The mean over the batch is the baseline, so one response to a query is enough.
"""

from dataclasses import dataclass
from typing import ClassVar

from vlm_rl.algorithms.kl_in_reward import KlInReward
from vlm_rl.algorithms.losses import LOSS_AVERAGES
from vlm_rl.algorithms.returns import SCORE_PLACES, discounted_returns
from vlm_rl.masking import masked_whiten
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class ReinforcePlusPlus(KlInReward):
    """Where authors differ: the place of the score, of the KL penalty (loss or reward), and how the loss is averaged."""

    gamma: float
    score_at: str  # "eos" (Eq. 1) or "last_token" (the authors' code)
    loss_average: str  # "response" (Eq. 1) or "token" (the authors' code)

    min_group_size: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(0 <= self.gamma <= 1, "gamma", "a discount in [0, 1]", "1.0")
        self.check_choice("score_at", SCORE_PLACES)
        self.check_choice("loss_average", LOSS_AVERAGES)

    @property
    def rewards_only_ended_responses(self) -> bool:
        return self.score_at == "eos"

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """Returns of the scores less the KL penalty, centred and scaled; equal rewards give zero everywhere."""
        mask = trajectory.response_mask
        rewards = SCORE_PLACES[self.score_at](trajectory.scores, mask, terminated=trajectory.terminated)
        returns = discounted_returns(rewards - self.kl_reward_coef * self.sampled_kl(trajectory), gamma=self.gamma)
        return masked_whiten(returns * mask, mask)

    def token_weights(self, mask: Mask) -> Tokens:
        return LOSS_AVERAGES[self.loss_average](mask)
