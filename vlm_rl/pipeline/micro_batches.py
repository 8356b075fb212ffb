"""How a batch is cut: into mini-batches, one for each optimizer step, and these into micro-batches that fit into memory."""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from vlm_rl.randomness import stream


def forward_batches(lengths: Int[Tensor, " batch"], *, max_tokens: int) -> Iterator[Int[Tensor, " chosen"]]:
    """Rows sorted by length, as many together as fit into `max_tokens` with padding; one row alone may exceed it."""
    order = lengths.argsort(stable=True)
    sizes = lengths[order].tolist()
    start = 0
    for end in range(1, len(sizes) + 1):
        if end == len(sizes) or sizes[end] * (end + 1 - start) > max_tokens:
            yield order[start:end]
            start = end


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
