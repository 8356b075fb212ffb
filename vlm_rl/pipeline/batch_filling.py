"""Between scoring and the log-probabilities of Step III: groups wait until they fill a batch (dynamic sampling).

The policy does not move while groups wait, so all of them are its own. Nothing is stored: a run that goes on from a checkpoint
samples again what waited. Places in the filled batch go by (generation step, query), whichever rank a query was on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad

from vlm_rl.algorithms.dynamic_sampling import DynamicSampling, differs
from vlm_rl.masking import pooled
from vlm_rl.rewards.reward import RewardScores
from vlm_rl.types import Trajectory

SOLVED = (
    "All of them are right: the model has solved these training questions, and nothing more can be learned from them. "
    "Take the last checkpoint as the result (evaluate.py checkpoint=...), or train on harder questions (dataset, dataset.filter)."
)
CAUSES = (
    "Likely causes: the questions are too hard (all wrong) or too easy (all right) for this model, so take others "
    "(dataset, dataset.filter); groups are too small to differ (algorithm.group_size); the reward does not tell "
    "responses apart (see dry_run=rollouts); or the engine does not sample from the weights that are trained "
    "(parity.every=1 checks it at each step). algorithm.dynamic_sampling=null learns from every group."
)


class NothingToLearn(RuntimeError):
    """Too many generation steps in a row did not fill a batch."""


@dataclass(frozen=True, kw_only=True)
class SamplingCounts:
    """What became of the groups of one generation step; over all ranks."""

    kept: int  # their responses differ
    dropped: int  # theirs do not
    surplus: int  # of those kept: thrown away, the batch has no room for them
    waiting: int  # after this step, for the next ones
    steps_per_update: float  # generation steps that filled the batch; NaN where it is not full
    thrown_away_tokens: int  # of the responses that nothing is learned from


@dataclass(frozen=True, kw_only=True)
class Filled:
    """This rank's share of a full batch, or None while groups wait."""

    trajectory: Trajectory | None
    steps: tuple[int, ...]  # generation steps since the last update
    counts: SamplingCounts


@dataclass(frozen=True, kw_only=True)
class _Told:
    """Of each query of the global batch of a generation step, whichever rank it is on."""

    kept: Int[Tensor, " query"]  # 1 = its responses differ
    tokens: Int[Tensor, " query"]  # of its responses
    values: Tensor  # mean of its responses, float64


class BatchFilling:
    """Keeps the groups that differ, in order, and hands them out as soon as there are enough for an update.

    `batch_size`: queries of a generation step, over all ranks.
    """

    def __init__(self, *, settings: DynamicSampling, batch_size: int, group_size: int, num_steps: int, pad_id: int) -> None:
        self._settings, self._batch_size, self._group_size = settings, batch_size, group_size
        self._update_size, self._num_steps, self._pad_id = settings.groups_of_update(batch_size), num_steps, pad_id
        self._start()

    def _start(self) -> None:
        self._parts: list[Trajectory] = []  # this rank's groups; their indices are places in the batch that is being filled
        self._steps: tuple[int, ...] = ()
        self._waiting, self._waiting_tokens, self._dropped_values = 0, 0, 0.0

    def add(self, trajectory: Trajectory, scores: RewardScores, *, step: int) -> Filled:
        """This rank's groups of one generation step; every rank must come here."""
        size = self._group_size
        queries = trajectory.indices[::size] // size
        told = self._told(trajectory, self._values(trajectory, scores), queries)
        places = self._waiting + told.kept.cumsum(0) - 1
        used = told.kept.bool() & (places < self._update_size)
        mine = used[queries].repeat_interleave(size).nonzero()[:, 0]
        new_indices = places[queries].repeat_interleave(size) * size + trajectory.indices % size
        self._parts.append(replace(trajectory.select(mine), indices=new_indices[mine]))
        self._steps += (step,)
        self._dropped_values += float(told.values[told.kept == 0].sum())
        return self._filled(told, used)

    def _filled(self, told: _Told, used: Tensor) -> Filled:
        kept, surplus = int(told.kept.sum()), int(told.kept.sum() - used.sum())
        self._waiting += kept - surplus
        self._waiting_tokens += int(told.tokens[used].sum())
        is_full = self._waiting == self._update_size
        is_over = not is_full and self._steps[-1] == self._num_steps - 1  # nobody will come for what waits now
        counts = SamplingCounts(
            kept=kept,
            dropped=self._batch_size - kept,
            surplus=surplus,
            waiting=0 if is_full else self._waiting,
            steps_per_update=len(self._steps) if is_full else math.nan,
            thrown_away_tokens=int(told.tokens[~used].sum()) + (self._waiting_tokens if is_over else 0),
        )
        if not is_full:
            if not is_over:
                self._check_patience()
            return Filled(trajectory=None, steps=self._steps, counts=counts)
        filled = Filled(trajectory=merged(self._parts, pad_id=self._pad_id), steps=self._steps, counts=counts)
        self._start()
        return filled

    def _values(self, trajectory: Trajectory, scores: RewardScores) -> Tensor:
        """What the responses of a group must differ in."""
        if self._settings.metric == "score":
            return trajectory.scores
        return torch.tensor(scores.terms["accuracy"], device=trajectory.scores.device)

    def _told(self, trajectory: Trajectory, values: Tensor, queries: Tensor) -> _Told:
        """Each rank tells of its queries; the others' places are 0, so the sum over ranks is what all have told."""
        size = self._group_size
        told = torch.zeros((3, self._batch_size), dtype=torch.float64, device=values.device)
        told[0, queries] = differs(values, group_size=size).double()
        told[1, queries] = trajectory.response_mask.sum(1).view(-1, size).sum(1).double()
        told[2, queries] = values.view(-1, size).double().mean(1)
        told = pooled(told)
        return _Told(kept=told[0].long(), tokens=told[1].long(), values=told[2])

    def _check_patience(self) -> None:
        """Stops the run where there is next to nothing to learn from, with the likely causes."""
        if len(self._steps) < self._settings.patience:
            return
        metric, offered = self._settings.metric, len(self._steps) * self._batch_size
        mean = self._dropped_values / (offered - self._waiting)
        raise NothingToLearn(
            f"No update in {len(self._steps)} generation steps in a row (algorithm.dynamic_sampling.patience): of {offered} groups of "
            f"{self._group_size} responses only {self._waiting} differ in {metric}, and an update needs {self._update_size} that do "
            f"(dataset.batch_size x algorithm.dynamic_sampling.update_share). The mean {metric} of the others is {mean:.3g}. "
            f"{SOLVED if metric == 'accuracy' and mean == 1 else CAUSES} "
            "With a larger patience the same command goes on from its last checkpoint."
        )


def merged(parts: Sequence[Trajectory], *, pad_id: int) -> Trajectory:
    """Rows of several trajectories as one, before any log-probability but the engine's is known: padded to common widths."""
    query = max(part.input_ids.shape[1] - part.response_mask.shape[1] for part in parts)
    response = max(part.response_mask.shape[1] for part in parts)

    def joined(name: str, *, left: bool, filler: int = 0) -> Tensor:
        padded = []
        for part in parts:
            more = response - part.response_mask.shape[1]
            before = query + response - part.input_ids.shape[1] - more if left else 0
            padded.append(pad(getattr(part, name), (before, more), value=filler))
        return torch.cat(padded, dim=-2)  # positions have their axes before the rows

    return replace(
        parts[0],
        indices=torch.cat([part.indices for part in parts]),
        input_ids=joined("input_ids", left=True, filler=pad_id),
        attention_mask=joined("attention_mask", left=True),
        mm_token_type_ids=joined("mm_token_type_ids", left=True),
        position_ids=joined("position_ids", left=True),
        images=tuple(images for part in parts for images in part.images),
        response_mask=joined("response_mask", left=False),
        terminated=torch.cat([part.terminated for part in parts]),
        scores=torch.cat([part.scores for part in parts]),
        engine_logprobs=joined("engine_logprobs", left=False),
        token_weights=joined("token_weights", left=False),
    )
