"""How a batch is cut: into mini-batches, one for each optimizer step, and these into micro-batches that fit into memory."""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from vlm_rl.randomness import stream


def forward_batches(lengths: Int[Tensor, "batch 2"], *, max_tokens: int) -> Iterator[Int[Tensor, " chosen"]]:
    """Rows sorted by length, as many together as fit into `max_tokens` with padding; one row alone may exceed it.

    `lengths` are those of query and response: queries are padded on the left and responses on the right, so a batch is as wide
    as its longest query and its longest response together, even if they belong to different rows.
    """
    order = lengths.sum(1).argsort(stable=True)
    start, query, response = 0, 0, 0
    for end, (next_query, next_response) in enumerate(lengths[order].tolist()):
        query, response = max(query, next_query), max(response, next_response)
        if end > start and (query + response) * (end + 1 - start) > max_tokens:
            yield order[start:end]
            start, query, response = end, next_query, next_response
    if start < len(order):
        yield order[start:]


def mini_batches(
    indices: Int[Tensor, " batch"], *, num_minibatches: int, num_responses: int, seed: int, step: int, ppo_epoch: int
) -> list[Int[Tensor, " chosen"]]:
    """Which of this rank's rows belong to each mini-batch.

    The shuffle runs over the places in the global batch, so a mini-batch is the same whatever the number of ranks; a rank
    may have no row of it.
    """
    order = torch.from_numpy(stream(seed, "mini_batches", step, ppo_epoch).permutation(num_responses))
    place = torch.empty_like(order)
    place[order] = torch.arange(num_responses)
    size = num_responses // num_minibatches
    batch = place.to(indices.device)[indices] // size
    return [(batch == i).nonzero()[:, 0] for i in range(num_minibatches)]
