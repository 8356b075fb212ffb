"""RLOO (Kool et al., 2019; Ahmadian et al., 2024, "Back to Basics", arXiv 2402.14740): REINFORCE, each response against the others.

    A = R - mean of the other responses' R,   R = r - kl_reward_coef sum over t of KL_t

The baseline does not depend on the response itself, so the gradient is unbiased. The whole response is one action: its probability
is a product over tokens, and so is the ratio. What the paper does in one update is clipped here where a batch takes several.
"""

from dataclasses import dataclass

from vlm_rl.algorithms.groups import leave_one_out, on_tokens
from vlm_rl.algorithms.kl_in_reward import KlInReward
from vlm_rl.algorithms.losses import RATIOS
from vlm_rl.masking import masked_whiten
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class Rloo(KlInReward):
    """Where codes differ: whether the ratio is the response's (TRL) or each token's (verl), and whether advantages are whitened."""

    ratio_level: str  # "sequence": the product over the response; "token"
    whiten: bool  # over the responses of the batch

    def __post_init__(self) -> None:
        self.check_choice("ratio_level", RATIOS)
        super().__post_init__()

    @property
    def ratio_is_of_responses(self) -> bool:
        return self.ratio_level == "sequence"

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """In units of the score, unless whitened."""
        mask = trajectory.response_mask
        rewards = trajectory.scores - self.kl_reward_coef * self.sampled_kl(trajectory).sum(1)
        advantages = leave_one_out(rewards, self.groups(trajectory))
        if self.whiten:
            advantages = masked_whiten(advantages[:, None], mask.any(1, keepdim=True))[:, 0]
        return on_tokens(advantages, mask)

    def ratio(self, logprobs: Tokens, old_logprobs: Tokens, mask: Mask) -> Tokens:
        return RATIOS[self.ratio_level](logprobs, old_logprobs, mask)
