"""From a distribution and one uniform number to a token."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

CHUNK = 512  # ids whose probabilities are first added up
FEW = 64  # ids that are sorted at first where top_p cuts


def draw(
    logprobs: Float[Tensor, "batch vocab"], numbers: Float[Tensor, " batch"], *, top_p: float | Float[Tensor, " batch"]
) -> Int[Tensor, " batch"]:
    """The id where the cumulative probability passes the uniform number; top_p keeps the smallest set that reaches it.

    Probabilities are float32, sums over chunks of ids are added up in float64 (float32 on devices without it), and so are the
    probabilities inside of the chunk that the number falls into. So an id is drawn with its probability but for 1e-6 of it.
    """
    probabilities = logprobs.float().exp()
    if isinstance(top_p, Tensor) or top_p < 1:
        probabilities = _nucleus(probabilities, torch.as_tensor(top_p, device=logprobs.device).expand(len(logprobs)))
    exact = torch.float32 if logprobs.device.type == "mps" else torch.float64
    numbers = numbers.to(exact)
    if probabilities.shape[-1] <= CHUNK:
        return _inverse_cdf(probabilities.to(exact), numbers)[0]
    chunks = _chunked(probabilities)
    chunk, rest = _inverse_cdf(chunks.sum(-1).to(exact), numbers)
    inside = chunks.gather(1, chunk[:, None, None].expand(-1, 1, chunks.shape[-1]))[:, 0]
    return chunk * chunks.shape[-1] + _inverse_cdf(inside.to(exact), rest)[0]


def _chunked(probabilities: Tensor) -> Float[Tensor, "batch chunk id"]:
    return pad(probabilities, (0, -probabilities.shape[-1] % CHUNK)).view(len(probabilities), -1, CHUNK)


def _inverse_cdf(weights: Tensor, numbers: Tensor) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
    """The place that the number falls into, never one without weight; and how far it reaches into that place, from 0 to below 1."""
    cumulative = weights.cumsum(-1)
    whole = cumulative[:, -1:]
    wanted = numbers[:, None].clamp(max=1 - torch.finfo(weights.dtype).eps) * whole  # rounding must not reach the end
    chosen = torch.searchsorted(cumulative, wanted, right=True).clamp(max=weights.shape[-1] - 1)
    weight, end = weights.gather(-1, chosen), cumulative.gather(-1, chosen)
    return chosen[:, 0], (1 - (end - wanted) / weight).clamp(0, 1)[:, 0]


def _nucleus(probabilities: Float[Tensor, "batch vocab"], top_p: Float[Tensor, " batch"]) -> Float[Tensor, "batch vocab"]:
    """The probabilities of the smallest set of likeliest ids that reaches top_p; 0 elsewhere.

    Few ids are sorted, and more only where they do not reach it, which a GPU is waited for to know.
    """
    count, vocab = FEW, probabilities.shape[-1]
    while True:
        count = min(count, vocab)
        ordered, ids = probabilities.topk(count, dim=-1)
        before = ordered.double().cumsum(-1) - ordered if ordered.device.type != "mps" else ordered.cumsum(-1) - ordered
        if count == vocab or bool((before[:, -1] >= top_p).all()):
            kept = ordered.masked_fill(before >= top_p[:, None], 0)
            return torch.zeros_like(probabilities).scatter(-1, ids, kept)
        count *= 8
