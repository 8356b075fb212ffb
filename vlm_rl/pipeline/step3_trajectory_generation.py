"""Step III of Fig. 2: responses get their scores and log-probabilities. No gradients here."""

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vlm_rl import ranks
from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.algorithms.dynamic_sampling import GroupSelection, SelectionCounts
from vlm_rl.masking import pooled_mean
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.micro_batches import forward_batches
from vlm_rl.rewards.reward import Reward, RewardScores
from vlm_rl.rollout.engine import EngineMismatch as EngineMismatch
from vlm_rl.types import QueryBatch, ResponseBatch, SampledBy, Samples, Tokens, Trajectory, extended, select


@dataclass(frozen=True, kw_only=True)
class ScoredTrajectory:
    """The trajectory of one generation step, and the scores of each reward term."""

    trajectory: Trajectory
    scores: RewardScores  # of all responses of the step
    counts: SelectionCounts | None  # None: no dynamic sampling, the trajectory holds all responses


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Compares the engine's log-probabilities of its own responses with the trainer's."""

    every: int  # generation steps
    tolerance: float  # nats, mean over tokens
    _known: set[str] = field(default_factory=set, init=False, repr=False)  # servers that were compared since they came

    def is_due(self, step: int, sources: Collection[str] | None = None) -> bool:
        """True at the first generation step, at every `every`-th after it, and where a server answers for the first time since it came."""
        is_due = step % self.every == 0
        return is_due if is_due or sources is None else ranks.any_of(not self._known.issuperset(sources))

    def check(self, logprobs: Tokens, samples: Samples, sources: Sequence[str] | None = None) -> None:
        """Raises EngineMismatch with the likely causes if the trainer's `logprobs` differ by more than the tolerance, over all
        responses or over those of one server; `sources`: the server of each response."""
        differences = (samples.engine_logprobs - logprobs).abs()
        means = {"Engine": pooled_mean(differences, samples.response_mask)}
        if sources is not None:
            means |= mean_of_each(differences, samples, sources)
            self._known.update(sources)
        for name, mean in means.items():
            if not mean <= self.tolerance:  # NaN is a mismatch too
                raise EngineMismatch(
                    f"{name} and trainer differ by {mean:.3g} nats a token, more than parity.tolerance={self.tolerance}. "
                    "Likely causes: the engine runs other weights (the adapter did not load), resizes images differently, "
                    "expands image tokens twice, or returns log-probabilities at another temperature."
                )


def mean_of_each(values: Tokens, samples: Samples, sources: Sequence[str]) -> dict[str, float]:
    """Mean over the response tokens of each server, over all ranks."""
    own = [part.double().sum(1).tolist() for part in (values * samples.response_mask, samples.response_mask)]
    sums, counts = Counter[str](), Counter[str]()
    for names, totals, lengths in ranks.gathered((list(sources), *own)):
        for name, total, length in zip(names, totals, lengths, strict=True):
            sums[name], counts[name] = sums[name] + total, counts[name] + length
    return {name: sums[name] / count for name, count in counts.items() if count}


class TrajectoryGeneration:
    """Scores the responses and computes their log-probabilities under the old policy and the reference."""

    def __init__(
        self, *, reward: Reward, algorithm: Algorithm, parity: Parity, selection: GroupSelection | None = None
    ) -> None:
        self._reward, self._algorithm, self._parity, self._selection = reward, algorithm, parity, selection

    @torch.no_grad()
    def generate(self, queries: QueryBatch, responses: ResponseBatch, policy: Policy) -> ScoredTrajectory:
        """The trajectory of this rank; with dynamic sampling only the groups that were selected."""
        rows = [row for row in queries.rows for _ in range(responses.num_samples)]
        scores = self._reward(responses.responses, rows)
        samples, counts = concatenate(queries.to(policy.device), responses, scores=torch.tensor(scores.total)), None
        sources = responses.sources
        if self._selection is not None:
            selected = self._selection.select(samples, scores.terms)
            samples, counts = selected.samples, selected.counts
            sources = None if sources is None else tuple(sources[i] for i in selected.rows.tolist())
        trajectory = self._with_logprobs(samples, policy, step=queries.step, sources=sources, by=responses.sampled_by)
        return ScoredTrajectory(trajectory=trajectory, scores=scores, counts=counts)

    def _with_logprobs(
        self, samples: Samples, policy: Policy, *, step: int, sources: Sequence[str] | None, by: SampledBy | None
    ) -> Trajectory:
        """Adds log-probabilities of the policy that sampled and of the reference, if the algorithm or the parity check needs them."""
        algorithm = self._algorithm
        old = ref = weights = None
        is_compared = algorithm.learns_from_own_responses and self._parity.is_due(step, sources)
        if algorithm.needs_old_logprobs and algorithm.old_logprobs == "engine" and not is_compared:
            old = samples.engine_logprobs
        elif is_compared or algorithm.needs_old_logprobs or by is not None:
            with nullcontext() if by is None else policy.holding(by.weights, version=by.version):
                old = response_logprobs(policy, samples)
            if is_compared or sources is not None:  # of servers always: the numbers are there
                self._parity.check(old, samples, sources)
            if algorithm.rollout_correction.level != "none":
                weights = algorithm.rollout_correction.weights(old - samples.engine_logprobs, samples.response_mask)
        if algorithm.needs_reference:
            with policy.as_reference():
                ref = response_logprobs(policy, samples)
        return extended(samples, Trajectory, old_logprobs=old, ref_logprobs=ref, rollout_weights=weights)


def concatenate(queries: QueryBatch, responses: ResponseBatch, *, scores: Tensor) -> Samples:
    """Query and response side by side; the response goes on where the query's positions end."""
    group, mask = responses.num_samples, responses.response_mask
    repeat = torch.arange(len(queries.rows), device=mask.device).repeat_interleave(group)
    sample = torch.arange(group, device=mask.device).repeat(len(queries.rows))
    steps = torch.arange(mask.shape[1], device=mask.device)
    positions = queries.position_ids[:, repeat]
    following = (queries.next_positions[repeat][:, None] + steps).expand(positions.shape[0], -1, -1)
    ended = [response.finish_reason == "stop" for response in responses.responses]
    return Samples(
        indices=torch.tensor(queries.indices, device=mask.device)[repeat] * group + sample,
        input_ids=torch.cat([queries.query_ids[repeat], responses.response_ids], dim=1),
        attention_mask=torch.cat([queries.attention_mask[repeat], mask], dim=1),
        mm_token_type_ids=torch.cat([queries.mm_token_type_ids[repeat], torch.zeros_like(responses.response_ids)], dim=1),
        position_ids=torch.cat([positions, following], dim=2),
        images=tuple(images for images in queries.images for _ in range(group)),
        response_mask=mask,
        terminated=torch.tensor(ended, device=mask.device),
        scores=scores.to(mask.device, torch.float32),
        engine_logprobs=responses.engine_logprobs,
        group_size=group,
    )


@torch.no_grad()
def response_logprobs(policy: Policy, samples: Samples) -> Tokens:
    """Log-probabilities of the response tokens, in batches of `forward_batch_tokens`."""
    result = torch.zeros(samples.response_mask.shape, device=samples.response_mask.device)
    max_tokens = policy.optimization.forward_batch_tokens
    with policy.layout.gathered():
        groups = policy.shared_groups(samples)
        for chosen in policy.in_step(forward_batches(samples.lengths, max_tokens=max_tokens, groups=groups)):
            logprobs = policy.statistics(select(samples, chosen)).logprobs
            result[chosen, : logprobs.shape[1]] = logprobs
    return result
