"""Dynamic sampling (DAPO: Yu et al., 2025, arXiv 2503.14476, Sec. 3.2): an update learns from groups whose responses differ.

Where the score is the accuracy, the advantages of a group that is all right or all wrong are zero, so it adds nothing to the
gradient. DAPO samples again until a batch is full. Here each generation step samples a fixed surplus of queries and chooses from
them, so that every step ends with an update.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_rl.algorithms.choices import check_choices
from vlm_rl.algorithms.groups import NO_SPREAD
from vlm_rl.masking import pooled
from vlm_rl.types import Samples, select


@dataclass(frozen=True, kw_only=True)
class DynamicSampling:
    """What the responses of a group must differ in, and how many more queries are sampled than an update learns from."""

    metric: Literal["accuracy", "score"]  # accuracy: neither all right nor all wrong, as in DAPO; score: the reward
    oversample: float  # queries of a generation step, as a multiple of the dataset.batch_size that its update learns from

    def __post_init__(self) -> None:
        key = "algorithm.dynamic_sampling"
        check_choices(self, key=key)
        if not 1 <= self.oversample < math.inf:
            raise ValueError(f"{key}.oversample={self.oversample}; it is 1 or more. For example {key}.oversample=1.5.")

    def num_queries(self, batch_size: int) -> int:
        """Queries that a generation step samples for an update on `batch_size` of them; rounded up."""
        return math.ceil(self.oversample * batch_size - 1e-9)


def differs(values: Float[Tensor, " batch"], *, group_size: int) -> Bool[Tensor, " group"]:
    """True = the responses of a group do not all have the same value; the responses of a group lie side by side."""
    groups = values.view(-1, group_size)
    return groups.amax(1) - groups.amin(1) > NO_SPREAD


def places_in_batch(is_different: Bool[Tensor, " query"]) -> Int[Tensor, " query"]:
    """For each query of a step its place in the batch: those whose responses differ first, then the others, each in their order."""
    return (~is_different).long().argsort(stable=True).argsort()


@dataclass(frozen=True, kw_only=True)
class SelectionCounts:
    """What became of the groups of one generation step, over all ranks."""

    differing: int  # groups whose responses differ
    missing: int  # groups without differences that fill the batch up
    thrown_away: int  # groups that nothing is learned from
    thrown_away_tokens: int  # of their responses


@dataclass(frozen=True, kw_only=True)
class SelectedGroups:
    """This rank's share of the groups that the update learns from."""

    samples: Samples  # their indices are places in the batch of the update
    rows: Int[Tensor, " chosen"]  # which of the rank's samples they are
    counts: SelectionCounts


@dataclass(frozen=True, kw_only=True)
class GroupSelection:
    """Takes the first `batch_size` groups whose responses differ, and fills up with the others in their order."""

    settings: DynamicSampling
    batch_size: int  # groups that an update learns from, over all ranks
    group_size: int

    def select(self, samples: Samples, terms: Mapping[str, Sequence[float]]) -> SelectedGroups:
        """From all samples of a generation step on this rank; `terms`: their unweighted scores by reward term.

        Every rank must call this: which groups differ is pooled over ranks.
        """
        size, device = self.group_size, samples.scores.device
        values = samples.scores
        if self.settings.metric == "accuracy":
            values = torch.tensor(terms["accuracy"], device=device)
        queries = samples.indices[::size] // size
        sums = torch.zeros((2, self.settings.num_queries(self.batch_size)), dtype=torch.long, device=device)
        sums[0, queries] = differs(values, group_size=size).long()
        sums[1, queries] = samples.response_mask.sum(1).view(-1, size).sum(1)
        is_different, tokens = pooled(sums)  # the queries of other ranks are 0 here
        places = places_in_batch(is_different.bool())
        mine = (places[queries] < self.batch_size).repeat_interleave(size).nonzero()[:, 0]
        indices = places[queries].repeat_interleave(size) * size + samples.indices % size
        counts = SelectionCounts(
            differing=int(is_different.sum()),
            missing=max(0, self.batch_size - int(is_different.sum())),
            thrown_away=len(places) - self.batch_size,
            thrown_away_tokens=int(tokens[places >= self.batch_size].sum()),
        )
        return SelectedGroups(samples=replace(select(samples, mine), indices=indices[mine]), rows=mine, counts=counts)
