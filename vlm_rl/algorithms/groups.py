"""Statistics over the responses to one query."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def group_normalised(scores: Float[Tensor, " batch"], groups: Int[Tensor, " batch"], *, scale: bool) -> Float[Tensor, " batch"]:
    """Scores less the mean of their group, over its standard deviation (n - 1) if `scale`; equal scores give exactly 0."""
    _, place, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=torch.float64, device=scores.device)
    mean = sums.index_add(0, place, scores.double()) / counts
    centred = scores.double() - mean[place]
    if scale:
        variance = sums.index_add(0, place, centred.square()) / (counts - 1).clamp_min(1)
        std = variance.sqrt()[place]
        centred = torch.where(std > 1e-6, centred / std.clamp_min(1e-6), torch.zeros_like(centred))
    result: Tensor = centred.to(scores.dtype)
    return result
