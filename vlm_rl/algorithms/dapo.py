"""DAPO (Yu et al., 2025, arXiv 2503.14476): GRPO for long reasoning, four changes.

    A = (r - mean of the group) / (std of the group + std_epsilon);   loss = mean over all tokens of the mini-batch

1. clip-higher: `clip_high` above `clip_low`, so that unlikely tokens can still grow; 2. dynamic sampling: groups whose responses are all as
good as one another are dropped, and the update waits for others (pipeline/batch_filling.py); 3. every token counts the same, however long
its response; 4. a soft penalty for overlong responses, which is a reward term (rewards/length.py). No KL term. Only the third is
code here: the first, second and fourth are settings in conf/algorithm/dapo.yaml, and open to any other algorithm.
"""

from dataclasses import dataclass

from vlm_rl.algorithms.group_normalised import GroupNormalised
from vlm_rl.masking import token_mean_weights
from vlm_rl.types import Mask, Tokens


@dataclass(frozen=True, kw_only=True)
class Dapo(GroupNormalised):
    """Its scores hold the penalty for overlong responses."""

    def token_weights(self, mask: Mask) -> Tokens:
        return token_mean_weights(mask)
