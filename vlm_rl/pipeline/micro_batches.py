"""How a batch is cut: into mini-batches, one for each optimizer step, and these into micro-batches that fit into memory."""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from vlm_rl.randomness import stream


def forward_batches(
    lengths: Int[Tensor, "batch 2"], *, max_tokens: int, groups: Int[Tensor, " batch"] | None = None
) -> Iterator[Int[Tensor, " chosen"]]:
    """Sequences sorted by length, as many together as fit into `max_tokens` with padding; one alone may exceed it.

    `lengths` are those of query and response: queries are padded on the left and responses on the right, so a batch is as wide
    as its longest query and its longest response together, even if they belong to different rows. With `groups` the rows of a group
    are one sequence of their query and all their responses, or several where one would not fit.
    """
    own = torch.arange(len(lengths), device=lengths.device) if groups is None else groups
    known = torch.cat([lengths, own[:, None]], dim=1).tolist()  # at once: each transfer waits for a GPU
    pieces = _pieces(known, max_tokens=max_tokens)
    sizes = [(max(known[row][0] for row in rows), sum(known[row][1] for row in rows)) for rows in pieces]
    chosen, query, response = list[list[int]](), 0, 0
    for i in sorted(range(len(pieces)), key=lambda i: sum(sizes[i])):
        query, response = max(query, sizes[i][0]), max(response, sizes[i][1])
        if chosen and (query + response) * (len(chosen) + 1) > max_tokens:
            yield torch.tensor(sum(chosen, []), device=lengths.device)
            chosen, (query, response) = [], sizes[i]
        chosen.append(pieces[i])
    if chosen:
        yield torch.tensor(sum(chosen, []), device=lengths.device)


def _pieces(known: list[list[int]], *, max_tokens: int) -> list[list[int]]:
    """Rows of one group, as many as fit behind their query; `known`: tokens of query and of response, and the group of each row."""
    last: dict[int, list[int]] = {}
    pieces, room = [], dict[int, int]()
    for row, (query, response, group) in enumerate(known):
        if group not in last or room[group] < response:
            last[group], room[group] = [], max_tokens - query
            pieces.append(last[group])
        last[group].append(row)
        room[group] -= response
    return pieces


def mini_batches(
    indices: Int[Tensor, " batch"],
    *,
    num_minibatches: int,
    num_responses: int,
    seed: int,
    step: int,
    ppo_epoch: int,
    together: int = 1,
) -> list[Int[Tensor, " chosen"]]:
    """Which of this rank's rows belong to each mini-batch; so many neighbours stay `together`.

    The shuffle runs over the places in the global batch, so a mini-batch is the same whatever the number of ranks; a rank
    may have no row of it.
    """
    order = torch.from_numpy(stream(seed, "mini_batches", step, ppo_epoch).permutation(num_responses // together))
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    size = num_responses // num_minibatches // together
    batch = place.to(indices.device)[indices // together] // size
    return [(batch == i).nonzero()[:, 0] for i in range(num_minibatches)]
