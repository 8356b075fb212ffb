"""Masked means and whitening, pooled over ranks, and the sum of gradients over ranks. Counts are pooled, then divided; an undefined
mean is NaN."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from vlm_rl.types import Mask, Tokens


def is_distributed() -> bool:
    """Whether this process belongs to a group of ranks."""
    return dist.is_available() and dist.is_initialized()


def has_other_ranks() -> bool:
    """Whether other processes train with this one."""
    return is_distributed() and dist.get_world_size() > 1


def add_up_over_ranks(parameters: Iterable[nn.Parameter]) -> None:
    """Each gradient becomes its sum over ranks, by a plain all-reduce. A rank that had no rows adds zeros. Those of shards are sums
    already (models/sharding.py).

    A parameter that has a gradient on no rank keeps none, as on one rank: with zeros AdamW would move it by its momentum.
    """
    if not is_distributed():
        return
    parameters = [parameter for parameter in parameters if not isinstance(parameter, DTensor)]
    if not parameters:
        return
    has_gradient = parameters[0].new_tensor([p.grad is not None for p in parameters])
    for parameter, count in zip(parameters, pooled(has_gradient).tolist(), strict=True):
        if count:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            dist.all_reduce(parameter.grad)


def pooled(sums: Tensor) -> Tensor:
    """The sum over ranks of a tensor of sums; the tensor itself on one rank."""
    if is_distributed():
        sums = sums.clone()
        dist.all_reduce(sums)
    return sums


def pooled_max(value: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The largest value of all ranks."""
    if is_distributed():
        value = value.clone()
        dist.all_reduce(value, dist.ReduceOp.MAX)
    return value


def pooled_mean(values: Tensor, mask: Tensor) -> float:
    """Mean of the values under the mask over all ranks, NaN if there are none."""
    sums = torch.stack([values.double()[mask].sum(), mask.sum().double()])
    total, count = pooled(sums).tolist()
    return total / count if count else float("nan")


def pooled_std(values: Float[Tensor, " count"]) -> Float[Tensor, ""]:
    """Standard deviation (n - 1) of the values of all ranks, float64; 0 where there are fewer than two."""
    exact = values.double()
    total, count = pooled(torch.stack([exact.sum(), exact.new_tensor(len(exact))])).unbind()
    squares = pooled((exact - total / count.clamp_min(1)).square().sum())
    return (squares / (count - 1).clamp_min(1)).sqrt()


def masked_whiten(values: Tokens, mask: Mask) -> Tokens:
    """Centred and scaled to unit variance over the tokens of the global batch; zero everywhere if all values are equal.

    The authors' code adds the mean back and works on each rank alone, so that equal rewards still push every response up.
    """
    exact = values.double()
    kept = exact[mask]
    total, count = pooled(torch.stack([kept.sum(), mask.sum().double()])).unbind()
    mean = total / count.clamp_min(1)
    variance = pooled((kept - mean).square().sum()) / count.clamp_min(1)
    std = variance.sqrt()
    scale = torch.where(std > 1e-6 * mean.abs().clamp_min(1e-6), 1 / std, torch.zeros_like(std))
    return torch.where(mask, (exact - mean) * scale, torch.zeros_like(exact)).to(values.dtype)


def response_mean_weights(mask: Mask) -> Tokens:
    """Weights of Eq. 1: the mean over the tokens of each response, then over the responses of all ranks; adds up to 1."""
    counts = mask.sum(1, keepdim=True)
    num_responses = pooled((counts > 0).sum())
    return mask / (counts * num_responses).clamp_min(1)


def token_mean_weights(mask: Mask) -> Tokens:
    """Weights of the mean over all tokens of all ranks; adds up to 1."""
    return mask / pooled(mask.sum()).clamp_min(1)


def constant_length_weights(mask: Mask, *, length: int) -> Tokens:
    """The sum over the tokens of each response, over a constant number of tokens, then the mean over all responses of all ranks."""
    num_responses = pooled(torch.tensor(len(mask), device=mask.device))
    return mask / (num_responses * length).clamp_min(1)


def weighted_sum(values: Tokens, weights: Tokens, mask: Mask) -> Float[Tensor, ""]:
    """Sum of weight times value over the mask; what stands off the mask, even NaN, does not count."""
    return torch.where(mask, values * weights, torch.zeros_like(values)).sum()
