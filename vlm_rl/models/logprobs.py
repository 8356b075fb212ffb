"""The one distribution of the policy: softmax(logits / temperature) over the allowed ids, in float32.

Sampling, old, reference and update log-probabilities and the entropy all come from `policy_logprobs`. A full
(batch, response, vocab) tensor never exists: hidden states of response tokens go through the LM head in chunks, and with
gradients each chunk is computed again in the backward pass, unless all of them are small.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Head = Callable[[Tensor], Tensor]
KEPT_NUMBERS = 2**24  # of (token, vocab) blocks that the backward pass may find as they were, 64 MiB each
CHUNK_TOKENS = 2048  # rows of the largest (token, vocab) block that exists at once


@dataclass(frozen=True, kw_only=True)
class TokenStatistics:
    """Of each token: the log-probability of the id that was sampled and the entropy of what it was sampled from, nats."""

    logprobs: Float[Tensor, "*tokens"]
    entropy: Float[Tensor, "*tokens"]


def policy_logprobs(
    hidden: Float[Tensor, "token hidden"],
    *,
    head: Head,
    temperature: float | Float[Tensor, "token 1"],
    banned: Bool[Tensor, " vocab"],
) -> Float[Tensor, "token logits"]:
    """Log-probabilities of every id; -inf for the banned ones."""
    logits = head(hidden).float()
    if isinstance(temperature, Tensor) or temperature != 1:
        logits = logits / temperature
    known = banned[: logits.shape[-1]]  # some families cut off what pads their head
    return logits.masked_fill(known, -torch.inf).log_softmax(-1)


def _chunk_statistics(hidden: Tensor, ids: Tensor, head: Head, temperature: float, banned: Tensor) -> tuple[Tensor, Tensor]:
    everything = policy_logprobs(hidden, head=head, temperature=temperature, banned=banned)
    known = everything.detach()  # nobody learns from the entropy, and its graph would keep two more (token, vocab) blocks alive
    entropy = -(known.exp() * known.masked_fill(banned[: known.shape[-1]], 0)).sum(-1)
    return everything.gather(-1, ids[:, None])[:, 0], entropy


def token_statistics(
    hidden: Float[Tensor, "token hidden"],
    ids: Int[Tensor, " token"],
    *,
    head: Head,
    temperature: float,
    banned: Bool[Tensor, " vocab"],
    chunk_tokens: int = CHUNK_TOKENS,
) -> TokenStatistics:
    """Log-probability, with gradients unless switched off, and exact entropy, without, of each token, chunk by chunk."""
    is_computed_again = torch.is_grad_enabled() and len(hidden) * len(banned) > KEPT_NUMBERS
    logprobs, entropies = [], []
    for chunk, chunk_ids in zip(torch.split(hidden, chunk_tokens), torch.split(ids, chunk_tokens), strict=True):
        arguments = (chunk, chunk_ids, head, temperature, banned)
        if is_computed_again:  # noqa: SIM108  # two calls, easier to read
            result = checkpoint(_chunk_statistics, *arguments, use_reentrant=False)
        else:
            result = _chunk_statistics(*arguments)
        logprobs.append(result[0])
        entropies.append(result[1])
    return TokenStatistics(logprobs=torch.cat(logprobs), entropy=torch.cat(entropies))
