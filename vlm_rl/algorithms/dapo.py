"""DAPO (Yu et al., 2025, arXiv 2503.14476): GRPO for long reasoning, four changes.

    A = (r - mean of the group) / (std of the group + std_epsilon);   loss = mean over all tokens of the mini-batch

1. clip-higher: `clip_high` above `clip_low`, so that unlikely tokens can still grow; 2. dynamic sampling: groups of
equally good responses are replaced (dynamic_sampling.py); 3. every token counts the same, however long its response; 4. a soft
penalty for overlong responses, which is a reward term (rewards/length.py). No KL term. Only the third is code here: the first, second
and fourth are set in conf/algorithm/dapo.yaml, and any other algorithm may use them.
"""

from dataclasses import dataclass

from vlm_rl.algorithms.groups import group_normalised, on_tokens
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.masking import token_mean_weights
from vlm_rl.types import Mask, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class Dapo(PolicyGradient):
    """GRPO's advantage; its scores hold the penalty for overlong responses."""

    std_epsilon: float  # 0 in the paper, 1e-4 in TRL

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.std_epsilon >= 0, "std_epsilon", "0 or more", "1e-4")

    def advantages(self, trajectory: Trajectory) -> Tokens:
        """A group of equal scores gets zero."""
        groups = self.groups(trajectory)
        scores = group_normalised(trajectory.scores, groups, scale_by="group", std_epsilon=self.std_epsilon)
        return on_tokens(scores, trajectory.response_mask)

    def token_weights(self, mask: Mask) -> Tokens:
        return token_mean_weights(mask)
