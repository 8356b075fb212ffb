"""GSPO (Zheng et al., 2025, arXiv 2507.18071): the ratio, and with it the clip, belongs to the whole response.

    A = (r - mean of the group) / (std of the group + std_epsilon);   s = (pi(o) / pi_old(o))^(1/|o|)
    loss = - mean over responses of min(s A, clip(s, 1 - clip_low, 1 + clip_high) A)

The score is of the response, so its importance weight should be too; a token's own ratio is one sample of it and adds noise. The
geometric mean keeps s near 1, so the clips are hundreds of times narrower than GRPO's.
"""

from dataclasses import dataclass

from vlm_rl.algorithms.groups import group_normalised, on_tokens
from vlm_rl.algorithms.losses import geometric_mean_ratio
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class Gspo(PolicyGradient):
    """GRPO's advantage (Eq. 6), the response's ratio (Eq. 7); each response counts the same, however long (Eq. 5)."""

    std_epsilon: float  # 0 in the paper, 1e-4 in TRL

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.std_epsilon >= 0, "std_epsilon", "0 or more", "1e-4")

    @property
    def ratio_is_of_responses(self) -> bool:
        return True

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """A group of equal scores gets zero."""
        groups = self.groups(trajectory)
        scores = group_normalised(trajectory.scores, groups, scale_by="group", std_epsilon=self.std_epsilon)
        return on_tokens(scores, trajectory.response_mask)

    def ratio(self, logprobs: Tokens, old_logprobs: Tokens, mask: Mask) -> Tokens:
        return geometric_mean_ratio(logprobs, old_logprobs, mask)
