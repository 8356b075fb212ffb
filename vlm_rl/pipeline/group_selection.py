"""With dynamic sampling, between scoring and the log-probabilities of Step III: which of the sampled groups the update learns from."""

from dataclasses import dataclass, replace

import torch

from vlm_rl.algorithms.dynamic_sampling import DynamicSampling, differs, places_in_batch
from vlm_rl.masking import pooled
from vlm_rl.rewards.reward import RewardScores
from vlm_rl.types import Samples, select


@dataclass(frozen=True, kw_only=True)
class SelectionCounts:
    """What became of the groups of one generation step, over all ranks."""

    differing: int  # groups whose responses differ
    missing: int  # of those, fewer than an update learns from: so many groups without differences filled it up
    thrown_away: int  # groups that nothing is learned from
    thrown_away_tokens: int  # of their responses


@dataclass(frozen=True, kw_only=True)
class SelectedGroups:
    """This rank's share of the groups that the update learns from."""

    samples: Samples  # their indices are places in the batch of the update
    counts: SelectionCounts


@dataclass(frozen=True, kw_only=True)
class GroupSelection:
    """Takes the first `batch_size` groups whose responses differ, and fills up with the others in their order."""

    settings: DynamicSampling
    batch_size: int  # groups that an update learns from, over all ranks
    group_size: int

    def select(self, samples: Samples, scores: RewardScores) -> SelectedGroups:
        """From all that a generation step sampled on this rank. Every rank must come here: which groups differ is pooled."""
        size, device = self.group_size, samples.scores.device
        values = samples.scores
        if self.settings.metric == "accuracy":
            values = torch.tensor(scores.terms["accuracy"], device=device)
        queries = samples.indices[::size] // size
        known = torch.zeros((2, self.settings.num_queries(self.batch_size)), dtype=torch.long, device=device)
        known[0, queries] = differs(values, group_size=size).long()
        known[1, queries] = samples.response_mask.sum(1).view(-1, size).sum(1)
        is_different, tokens = pooled(known)  # another rank's queries are 0 here, so the sum over ranks knows all
        places = places_in_batch(is_different.bool())
        mine = (places[queries] < self.batch_size).repeat_interleave(size).nonzero()[:, 0]
        indices = places[queries].repeat_interleave(size) * size + samples.indices % size
        counts = SelectionCounts(
            differing=int(is_different.sum()),
            missing=max(0, self.batch_size - int(is_different.sum())),
            thrown_away=len(places) - self.batch_size,
            thrown_away_tokens=int(tokens[places >= self.batch_size].sum()),
        )
        return SelectedGroups(samples=replace(select(samples, mine), indices=indices[mine]), counts=counts)
