"""Step III of Fig. 2: what the policy said becomes what it can learn from. No gradients here."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.algorithms.rollout_correction import RolloutCorrection
from vlm_rl.masking import pooled_mean
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.batch_filling import BatchFilling, SamplingCounts
from vlm_rl.pipeline.micro_batches import forward_batches
from vlm_rl.rewards.reward import Reward, RewardScores
from vlm_rl.types import QueryBatch, ResponseBatch, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class ScoredTrajectory:
    """The trajectory, and what each reward term said of the responses of this generation step."""

    trajectory: Trajectory | None  # None: nothing to update with yet, groups wait until they fill a batch
    scores: RewardScores
    counts: SamplingCounts | None  # None: no dynamic sampling, the trajectory is this step's


class EngineMismatch(RuntimeError):
    """The engine samples from another distribution than the one that is trained."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The engine's log-probabilities of its own responses against the trainer's: checked, not hoped for."""

    every: int  # generation steps
    tolerance: float  # nats, mean over tokens

    def is_due(self, step: int) -> bool:
        """At the first step and every so many."""
        return step % self.every == 0

    def check(self, trajectory: Trajectory) -> None:
        """Stops the run past the tolerance, with the likely causes."""
        assert trajectory.old_logprobs is not None
        difference = (trajectory.engine_logprobs - trajectory.old_logprobs).abs()
        mean = pooled_mean(difference, trajectory.response_mask)
        if not mean <= self.tolerance:  # NaN is a mismatch too
            raise EngineMismatch(
                f"Engine and trainer differ by {mean:.3g} nats a token, more than parity.tolerance={self.tolerance}. "
                "Likely causes: the engine runs other weights (the adapter did not load), resizes images differently, "
                "expands image tokens twice, or returns log-probabilities at another temperature."
            )


class TrajectoryGeneration:
    """Concatenates, scores, and asks old policy and reference for the log-probabilities of the response tokens."""

    def __init__(self, *, reward: Reward, algorithm: Algorithm, parity: Parity, filling: BatchFilling | None = None) -> None:
        self._reward, self._algorithm, self._parity, self._filling = reward, algorithm, parity, filling

    @torch.no_grad()
    def generate(self, queries: QueryBatch, responses: ResponseBatch, policy: Policy) -> ScoredTrajectory:
        """The trajectory of one generation step on this rank; with dynamic sampling that of all steps that filled a batch."""
        rows = [row for row in queries.rows for _ in range(responses.num_samples)]
        scores = self._reward(responses.responses, rows)
        trajectory = concatenate(queries.to(policy.device), responses, scores=torch.tensor(scores.total))
        checked = self._checked(trajectory, policy) if self._is_compared(queries.step) else trajectory
        if self._filling is None:
            return ScoredTrajectory(trajectory=self._with_logprobs(checked, policy), scores=scores, counts=None)
        filled = self._filling.add(trajectory, scores, step=queries.step)
        if filled.trajectory is None:
            return ScoredTrajectory(trajectory=None, scores=scores, counts=filled.counts)
        measured = any(map(self._is_compared, filled.steps))
        full = self._with_logprobs(filled.trajectory, policy, are_measured=measured)
        return ScoredTrajectory(trajectory=full, scores=scores, counts=filled.counts)

    def _is_compared(self, step: int) -> bool:
        return self._algorithm.learns_from_own_responses and self._parity.is_due(step)

    def _checked(self, trajectory: Trajectory, policy: Policy) -> Trajectory:
        """All that a step sampled, whatever becomes of it: an engine that is broken may never fill a batch."""
        trajectory = replace(trajectory, old_logprobs=response_logprobs(policy, trajectory))
        self._parity.check(trajectory)
        return trajectory

    def _with_logprobs(self, trajectory: Trajectory, policy: Policy, *, are_measured: bool = False) -> Trajectory:
        """Under the policy that sampled it and the reference, as far as anything asks for them and they are not known."""
        if trajectory.old_logprobs is None and (self._algorithm.needs_old_logprobs or are_measured):
            trajectory = replace(trajectory, old_logprobs=response_logprobs(policy, trajectory))
        if self._algorithm.rollout_correction.active:
            trajectory = weighted(trajectory, self._algorithm.rollout_correction)
        if self._algorithm.needs_reference:
            with policy.as_reference():
                trajectory = replace(trajectory, ref_logprobs=response_logprobs(policy, trajectory))
        return trajectory


def concatenate(queries: QueryBatch, responses: ResponseBatch, *, scores: Tensor) -> Trajectory:
    """Query and response side by side; the response goes on where the query's positions end."""
    group, mask = responses.num_samples, responses.response_mask
    repeat = torch.arange(len(queries.rows), device=mask.device).repeat_interleave(group)
    sample = torch.arange(group, device=mask.device).repeat(len(queries.rows))
    steps = torch.arange(mask.shape[1], device=mask.device)
    positions = queries.position_ids[:, repeat]
    following = (queries.next_positions[repeat][:, None] + steps).expand(positions.shape[0], -1, -1)
    images = [images for images in queries.images for _ in range(group)]
    return Trajectory(
        indices=torch.tensor(queries.indices, device=mask.device)[repeat] * group + sample,
        input_ids=torch.cat([queries.query_ids[repeat], responses.response_ids], dim=1),
        attention_mask=torch.cat([queries.attention_mask[repeat], mask], dim=1),
        mm_token_type_ids=torch.cat([queries.mm_token_type_ids[repeat], torch.zeros_like(responses.response_ids)], dim=1),
        position_ids=torch.cat([positions, following], dim=2),
        images=tuple(images),
        response_mask=mask,
        terminated=responses.terminated,
        scores=scores.to(mask.device, torch.float32),
        engine_logprobs=responses.engine_logprobs,
        old_logprobs=None,
        ref_logprobs=None,
        rollout_weights=None,
        token_weights=torch.zeros(mask.shape, device=mask.device),
    )


def weighted(trajectory: Trajectory, correction: RolloutCorrection) -> Trajectory:
    """With the weights that correct for what the engine sampled from."""
    assert trajectory.old_logprobs is not None
    log_ratio = trajectory.old_logprobs - trajectory.engine_logprobs
    return replace(trajectory, rollout_weights=correction.weights(log_ratio, trajectory.response_mask))


@torch.no_grad()
def response_logprobs(policy: Policy, trajectory: Trajectory) -> Tokens:
    """Log-probabilities of the response tokens, in batches of `forward_batch_tokens`."""
    result = torch.zeros(trajectory.response_mask.shape, device=trajectory.response_mask.device)
    for chosen in forward_batches(trajectory.lengths, max_tokens=policy.optimization.forward_batch_tokens):
        logprobs = policy.statistics(trajectory.select(chosen)).logprobs
        result[chosen, : logprobs.shape[1]] = logprobs
    return result
