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
    as its longest query and its longest response together, even if they belong to different rows. With `groups` there is no
    padding, and the rows of a group have one query.
    """
    if groups is not None:
        yield from _shared_batches(lengths, groups, max_tokens=max_tokens)
        return
    order = lengths.sum(1).argsort(stable=True)
    start, query, response = 0, 0, 0
    for end, (next_query, next_response) in enumerate(lengths[order].tolist()):
        query, response = max(query, next_query), max(response, next_response)
        if end > start and (query + response) * (end + 1 - start) > max_tokens:
            yield order[start:end]
            start, query, response = end, next_query, next_response
    if start < len(order):
        yield order[start:]


def _shared_batches(lengths: Tensor, groups: Tensor, *, max_tokens: int) -> Iterator[Tensor]:
    """Without padding: a query and its responses, as many of them as fit, count once each."""
    chosen, known, used = list[int](), set[int](), 0
    rows = torch.cat([lengths, groups[:, None]], dim=1).tolist()  # at once: each transfer waits for a GPU
    longest = dict[int, int]()
    for query, response, group in rows:
        longest[group] = max(longest.get(group, 0), query + response)
    for row in sorted(range(len(rows)), key=lambda row: (longest[rows[row][2]], rows[row][2])):
        query, response, group = rows[row]
        more = response if group in known else query + response
        if chosen and used + more > max_tokens:
            yield torch.tensor(chosen, device=lengths.device)
            chosen, known, used, more = [], set(), 0, query + response
        chosen.append(row)
        known.add(group)
        used += more
    if chosen:
        yield torch.tensor(chosen, device=lengths.device)


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
