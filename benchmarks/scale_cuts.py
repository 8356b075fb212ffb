"""Which responses a rank has, how they are cut, and how many steps it takes to write them: what benchmarks/scale_simulation.py counts."""

import heapq
import math
from collections.abc import Sequence

import numpy as np
import torch
from scale_costs import Machine, Workload

from vlm_rl.pipeline.micro_batches import forward_batches, mini_batches


def lengths_of(work: Workload, *, count: int, seed: Sequence[int]) -> np.ndarray:
    """Tokens of responses; the mean is that before the longest are cut."""
    drawn = np.random.default_rng(seed).lognormal(math.log(work.mean) - work.spread**2 / 2, work.spread, count)
    return np.clip(np.rint(drawn), 1, work.longest).astype(int)


def decode_steps(lengths: np.ndarray, *, slots: int) -> int:
    """Steps until all are written, where a response that ends makes room for the next one."""
    ends = [0] * slots
    for length in lengths.tolist():
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


def cut(lengths: np.ndarray, rows: np.ndarray, work: Workload, *, max_tokens: int) -> list[int]:
    """Tokens of each forward that reads these rows: padded to the longest, or responses of a group with one copy of their query."""
    if len(rows) < 2:
        return [work.prompt + int(lengths[row]) for row in rows]
    sizes = torch.from_numpy(np.stack([np.full(len(rows), work.prompt), lengths[rows]], axis=1))
    groups = None if work.group_size == 1 else torch.from_numpy(rows // work.group_size)
    batches = [*forward_batches(sizes, max_tokens=max_tokens, groups=groups)]
    if groups is None:
        return [len(chosen) * (work.prompt + int(sizes[chosen, 1].max())) for chosen in batches]
    return [int(sizes[chosen, 1].sum()) + work.prompt * len(groups[chosen].unique()) for chosen in batches]


def by_rank(rows: np.ndarray, lengths: np.ndarray, work: Workload, machine: Machine) -> list[np.ndarray]:
    """Rows of a mini-batch on the rank that has sampled their query; balanced, queries go to the rank with the fewest tokens so far."""
    queries = rows // work.group_size
    owners = queries % machine.ranks
    if machine.is_balanced:
        kinds, place = np.unique(queries, return_inverse=True)
        tokens = work.prompt + np.bincount(place, weights=lengths[rows])
        loads, owner = [(0.0, rank) for rank in range(machine.ranks)], np.zeros(len(kinds), dtype=int)
        for query in np.argsort(-tokens, kind="stable"):
            load, owner[query] = heapq.heappop(loads)
            heapq.heappush(loads, (load + float(tokens[query]), int(owner[query])))
        owners = owner[place]
    order = np.argsort(owners, kind="stable")
    return np.split(rows[order], np.searchsorted(owners[order], np.arange(1, machine.ranks)))


def batches_of(work: Workload, *, step: int, seed: int = 0) -> list[np.ndarray]:
    """The rows of each mini-batch, over all ranks."""
    chosen = mini_batches(
        torch.arange(work.num_responses),
        num_minibatches=work.num_minibatches,
        num_responses=work.num_responses,
        seed=seed,
        step=step,
        ppo_epoch=0,
        together=work.group_size if work.num_responses // work.num_minibatches % work.group_size == 0 else 1,
    )
    return [rows.numpy() for rows in chosen]
