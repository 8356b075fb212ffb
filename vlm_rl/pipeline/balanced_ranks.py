"""Between steps III and IV, on several ranks: rows go where they are needed, so that no rank waits for another.

A rank samples whole groups, but a mini-batch is drawn from all rows, so its rows fall on ranks by chance. Here each mini-batch is shared
out by tokens. Its loss is a sum over rows with weights of the whole mini-batch, so its gradient stays the same, but for rounding.
"""

import numpy as np
import torch
from jaxtyping import Int

from vlm_rl import ranks
from vlm_rl.masking import has_other_ranks
from vlm_rl.types import MiniBatch, joined, select

Numbers = Int[np.ndarray, " row"]
Loads = Int[np.ndarray, " rank"]
WORTH_A_MOVE = 0.005  # of the mean tokens of a rank: pictures travel for it
FREE = 300  # tokens: on a GPU a pass of fewer takes as long as reading the weights (operations over bytes a second of an H100)


def balanced(mini_batch: MiniBatch, *, is_shared: bool) -> MiniBatch:
    """This rank's rows after the exchange, in the order of the global batch; the same object where no rank has others than before.

    `is_shared`: responses to one query share its prompt. Every rank must call this, even one without rows.
    """
    if not has_other_ranks():
        return mini_batch
    own = torch.cat([mini_batch.groups[:, None], mini_batch.lengths], dim=1).cpu().numpy()
    tables = ranks.gathered(own)
    before = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    groups, prompts, responses = np.concatenate(tables).T
    after = shares(before, groups, prompts, responses, num_ranks=len(tables), is_shared=is_shared)
    if (after == before).all():
        return mini_batch
    after = after[before == ranks.rank()]
    device = mini_batch.indices.device
    going = [select(mini_batch, torch.from_numpy((after == rank).nonzero()[0]).to(device)) for rank in range(len(tables))]
    rows = joined(ranks.exchanged(going), device=device)
    return select(rows, rows.indices.argsort())


def shares(
    before: Numbers, groups: Numbers, prompts: Numbers, responses: Numbers, *, num_ranks: int, is_shared: bool
) -> Numbers:
    """The rank of each row, from the rank that has it and from its tokens; the same on every rank.

    Whole groups first, because their rows have the same pictures and may share a prompt. Then single rows, where ranks are still unequal.
    """
    once, each = (prompts, responses) if is_shared else (np.zeros_like(prompts), prompts + responses)
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    of_group = np.zeros_like(once[first])
    np.add.at(of_group, group, each)
    whole = _improved(before[first], np.arange(len(first)), once[first], of_group, num_ranks=num_ranks)
    return _improved(whole[group], group, once, each, num_ranks=num_ranks)


def loads(places: Numbers, groups: Numbers, once: Numbers, each: Numbers, *, num_ranks: int) -> Loads:
    """Tokens of each rank: `each` for every row, `once` for every group on it."""
    _, first = np.unique(groups * num_ranks + places, return_index=True)
    total = np.zeros(num_ranks, dtype=np.int64)
    np.add.at(total, places, each)
    np.add.at(total, places[first], once[first])
    return total


def _improved(places: Numbers, groups: Numbers, once: Numbers, each: Numbers, *, num_ranks: int) -> Numbers:
    """Local search from where the rows are, so that few of them move: as long as it helps, the fullest rank gives a row away or
    changes one for another, whichever leaves the fuller of the two ranks with the fewest tokens."""
    num_rows, num_groups = len(places), int(groups.max(initial=-1)) + 1
    # To give a row away is to change it for an empty row: each rank has one.
    places, groups = np.append(places, np.arange(num_ranks)), np.append(groups, num_groups + np.arange(num_ranks))
    once, each = (np.append(tokens, np.zeros(num_ranks, dtype=np.int64)) for tokens in (once, each))
    while True:
        tokens = loads(places, groups, once, each, num_ranks=num_ranks)
        fullest = int(tokens.argmax())
        if tokens[fullest] <= FREE:
            return places[:num_rows]
        mine, others = (places[:num_rows] == fullest).nonzero()[0], (places != fullest).nonzero()[0]
        fuller = _after_changes(mine, others, tokens, places=places, groups=groups, once=once, each=each)
        if not fuller.size or fuller.min() > tokens[fullest] - WORTH_A_MOVE * tokens.mean():
            return places[:num_rows]
        row, other = (int(place) for place in np.unravel_index(fuller.argmin(), fuller.shape))
        places[mine[row]] = places[others[other]]
        if others[other] < num_rows:
            places[others[other]] = fullest


def _after_changes(
    mine: Int[np.ndarray, " mine"],
    others: Int[np.ndarray, " other"],
    tokens: Loads,
    *,
    places: Numbers,
    groups: Numbers,
    once: Numbers,
    each: Numbers,
) -> Int[np.ndarray, "mine other"]:
    """Tokens of the fuller of the two ranks if one of my rows changed places with another: my rank is the fullest."""
    fullest, theirs = int(tokens.argmax()), places[others]
    counts = np.zeros((groups.max() + 1, len(tokens)), dtype=np.int64)
    np.add.at(counts, (groups, places), 1)  # a prompt goes with the last row of its group, and comes with the first
    given = each[mine] + once[mine] * (counts[groups[mine], fullest] == 1)
    taken = each[others] + once[others] * (counts[groups[others], fullest] == 0)
    arriving = each[mine][:, None] + once[mine][:, None] * (counts[groups[mine]][:, theirs] == 0)
    leaving = each[others] + once[others] * (counts[groups[others], theirs] == 1)
    less, more = given[:, None] - taken, arriving - leaving
    is_same = groups[mine][:, None] == groups[others]  # then no prompt comes or goes
    less, more = (np.where(is_same, each[mine][:, None] - each[others], change) for change in (less, more))
    changed: np.ndarray = np.maximum(tokens[fullest] - less, tokens[theirs] + more)
    return changed
