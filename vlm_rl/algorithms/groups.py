"""Statistics over the responses to one query, which all lie on one rank. `groups` names the query of each response."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_rl.masking import pooled_std
from vlm_rl.types import Mask, Tokens

Scores = Float[Tensor, " batch"]
Groups = Int[Tensor, " batch"]

Scale = Literal["group", "batch", "none"]
NO_SPREAD = 1e-6  # a standard deviation below it is a rounding error: the scores are equal


def group_mean(scores: Scores, groups: Groups) -> Scores:
    """For each response the mean score of its group, itself included; float64."""
    sums, place, counts = _sums(scores, groups)
    result: Tensor = (sums / counts)[place]
    return result


def group_std(scores: Scores, groups: Groups) -> Scores:
    """For each response the standard deviation (n - 1) of the scores of its group; float64."""
    sums, place, counts = _sums((scores.double() - group_mean(scores, groups)).square(), groups)
    result: Tensor = (sums / (counts - 1).clamp_min(1)).sqrt()[place]
    return result


def leave_one_out(scores: Scores, groups: Groups) -> Scores:
    """Each score less the mean of the others of its group, which does not depend on it: an unbiased baseline."""
    sums, place, counts = _sums(scores, groups)
    others = (sums[place] - scores.double()) / (counts - 1).clamp_min(1)[place]
    centred = torch.where(group_std(scores, groups) > NO_SPREAD, scores.double() - others, 0.0)
    return centred.to(scores.dtype)


def group_centred(scores: Scores, groups: Groups) -> Scores:
    """Scores less the mean of their group; equal scores give exactly 0."""
    centred = scores.double() - group_mean(scores, groups)
    return torch.where(group_std(scores, groups) > NO_SPREAD, centred, 0.0).to(scores.dtype)


def group_normalised(scores: Scores, groups: Groups, *, scale_by: Scale, std_epsilon: float) -> Scores:
    """Centred in the group and divided by a standard deviation (n - 1) plus `std_epsilon`; equal scores give exactly 0.

    Papers differ in whose deviation it is: that of the group (GRPO), of all scores of the batch ("batch"), or none (Dr. GRPO).
    """
    centred = group_centred(scores, groups)
    if scale_by == "none":
        return centred
    spread = group_std(scores, groups) if scale_by == "group" else pooled_std(scores).expand(len(scores))
    scaled = centred.double() / (spread + std_epsilon).clamp_min(NO_SPREAD)
    return torch.where(centred == 0, 0.0, scaled).to(scores.dtype)


def on_tokens(values: Scores, mask: Mask) -> Tokens:
    """One number for all tokens of a response; 0 off the mask."""
    return values[:, None] * mask


def _sums(values: Scores, groups: Groups) -> tuple[Tensor, Tensor, Tensor]:
    """Of each group its sum and count, and for each response the place of its group."""
    _, place, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=torch.float64, device=values.device)
    return sums.index_add(0, place, values.double()), place, counts
