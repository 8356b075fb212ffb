"""Step IV of Fig. 2: advantages, then N clipped optimizer steps.

The loss of a mini-batch is a weighted sum over tokens whose weights add up to 1 over all ranks. Micro-batches only add up
their shares, so neither the split, the order nor the number of ranks changes the gradient.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vlm_rl.algorithms.algorithm import Algorithm, AlgorithmLoss
from vlm_rl.masking import pooled
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.micro_batches import forward_batches, mini_batches
from vlm_rl.types import Tokens, Trajectory, UpdateStats

TOKEN_SUMS = ("tokens", "loss", "kl", "entropy", "ratio", "clipped")


class NonFiniteUpdates(RuntimeError):
    """Too many updates in a row had a non-finite loss or gradient."""


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """What Lightning lends to the update: its backward, its optimizer and schedule, and how ranks add up gradients."""

    backward: Callable[[Tensor], None]  # adds to the gradients of this rank
    synchronise: Callable[[], None]  # after the last backward: gradients become the sum over ranks
    optimizer: torch.optim.Optimizer
    step: Callable[[], None]
    schedule: torch.optim.lr_scheduler.LRScheduler


class PolicyUpdate:
    """N = mini-batches x ppo_epochs optimizer steps on one trajectory."""

    def __init__(self, *, algorithm: Algorithm, batch_size: int, seed: int, max_skipped_updates: int) -> None:
        self._algorithm, self._seed = algorithm, seed
        self._num_responses = algorithm.groups_of_update(batch_size) * algorithm.group_size
        self._max_skipped, self._skipped_in_a_row = max_skipped_updates, 0
        check_minibatches(algorithm, batch_size=batch_size)

    def update(self, trajectory: Trajectory | None, policy: Policy, stepper: Stepper, *, step: int) -> UpdateStats:
        """All optimizer steps of one generation step; none where nothing has been sampled to learn from yet."""
        if trajectory is None:
            return self._wait(stepper)
        advantages = self._algorithm.advantages(trajectory)
        sums = torch.zeros(len(TOKEN_SUMS), dtype=torch.float64, device=advantages.device)
        norms: list[float] = []
        learning_rate = stepper.optimizer.param_groups[0]["lr"]
        for ppo_epoch in range(self._algorithm.ppo_epochs):
            for chosen in mini_batches(
                trajectory.indices,
                num_minibatches=self._algorithm.num_minibatches,
                num_responses=self._num_responses,
                seed=self._seed,
                step=step,
                ppo_epoch=ppo_epoch,
            ):
                mini = trajectory.select(chosen) if len(chosen) else None
                found = pooled(self._gradients(mini, advantages[chosen], policy, stepper))
                norms.append(self._step(policy, stepper, loss=float(found[TOKEN_SUMS.index("loss")])))
                if math.isfinite(norms[-1]):
                    sums += found
        return self._stats(sums, norms, learning_rate)

    def _wait(self, stepper: Stepper) -> UpdateStats:
        """Only the schedule goes on, so that the learning rate is a function of generation steps."""
        nothing = torch.zeros(len(TOKEN_SUMS))
        stats = self._stats(nothing, [], stepper.optimizer.param_groups[0]["lr"])
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # torch: no optimizer step before the schedule's
            for _ in range(self._algorithm.num_updates):
                stepper.schedule.step()
        return stats

    def _gradients(self, mini: Trajectory | None, advantages: Tokens, policy: Policy, stepper: Stepper) -> Tensor:
        """Adds the gradient of one mini-batch, micro-batch by micro-batch, and returns sums over tokens."""
        sums = torch.zeros(len(TOKEN_SUMS), dtype=torch.float64, device=advantages.device)
        nothing = advantages.new_zeros((0, 1), dtype=torch.bool)
        mask = nothing if mini is None else self._algorithm.learned_tokens(mini)
        weights = self._algorithm.token_weights(mask)  # pools counts over ranks: every rank must come here
        if mini is not None:
            mini = replace(mini, token_weights=weights)
            advantages = advantages[:, : mask.shape[1]]
            for rows in forward_batches(mini.lengths, max_tokens=policy.optimization.micro_batch_tokens):
                micro = mini.select(rows)
                statistics = policy.statistics(micro)
                micro_advantages = advantages[rows, : micro.response_mask.shape[1]]
                result = self._algorithm.loss(statistics.logprobs, micro, micro_advantages)
                stepper.backward(result.loss)
                sums += token_sums(result, micro, statistics.entropy.detach())
        stepper.synchronise()
        return sums

    def _step(self, policy: Policy, stepper: Stepper, *, loss: float) -> float:
        """Clips and steps; the norm before clipping, or NaN where loss or gradient is not finite: skipped, on every rank alike.

        A loss can be NaN although its gradient is finite: a clamp has no slope there.
        """
        parameters = [p for p in policy.parameters() if p.requires_grad]
        norm = float(nn.utils.clip_grad_norm_(parameters, policy.optimization.max_grad_norm))
        if math.isfinite(norm) and math.isfinite(loss):
            stepper.step()
            self._skipped_in_a_row = 0
        else:
            norm = math.nan
            self._skipped_in_a_row += 1
            if self._skipped_in_a_row >= self._max_skipped:
                raise NonFiniteUpdates(
                    f"{self._skipped_in_a_row} updates in a row had a non-finite loss or gradient. The last checkpoint is "
                    "intact. Likely causes: a learning rate too high (model.optimization.learning_rate), float16, a broken base model."
                )
        stepper.optimizer.zero_grad(set_to_none=True)
        stepper.schedule.step()
        return norm

    def _stats(self, sums: Tensor, norms: list[float], learning_rate: float) -> UpdateStats:
        named = dict(zip(TOKEN_SUMS, sums.tolist(), strict=True))
        tokens = named["tokens"] or float("nan")
        finite = [norm for norm in norms if math.isfinite(norm)]
        return UpdateStats(
            loss=named["loss"] / (len(finite) or math.nan),
            kl=named["kl"] / tokens,
            entropy=named["entropy"] / tokens,
            ratio=named["ratio"] / tokens,
            clip_fraction=named["clipped"] / tokens,
            gradient_norm=sum(finite) / len(finite) if finite else float("nan"),
            learning_rate=learning_rate,
            skipped_updates=len(norms) - len(finite),
        )


def token_sums(result: AlgorithmLoss, micro: Trajectory, entropy: Tokens) -> Tensor:
    """Sums over the tokens of a micro-batch, in the order of TOKEN_SUMS; NaN where an algorithm has no such thing."""
    mask = micro.response_mask
    missing = torch.full((), torch.nan, dtype=torch.float64, device=mask.device)
    per_token = (result.kl, entropy, result.ratio, result.clipped)
    sums = [missing if values is None else values.double()[mask].sum() for values in per_token]
    return torch.stack([mask.sum().double(), result.loss.detach().double(), *sums])


STEP = "a generation step (dataset.batch_size x algorithm.group_size)"
FILLED = "an update (algorithm.dynamic_sampling.update_share of dataset.batch_size, rounded down, x algorithm.group_size)"


def check_minibatches(algorithm: Algorithm, *, batch_size: int) -> None:
    """Whether the optimizer steps share out the responses that an update learns from, all that were sampled or fewer."""
    num_responses = algorithm.groups_of_update(batch_size) * algorithm.group_size
    check_divides(num_responses, algorithm.num_minibatches, of=STEP if algorithm.dynamic_sampling is None else FILLED)


def check_divides(num_responses: int, num_minibatches: int, *, of: str = STEP) -> None:
    """Sizes that do not divide are an error that names the nearest ones."""
    if num_minibatches > 0 and num_responses % num_minibatches == 0:
        return
    divisors = [n for n in range(1, num_responses + 1) if num_responses % n == 0]
    nearest = sorted(divisors, key=lambda n: abs(n - num_minibatches))[:2]
    raise ValueError(
        f"algorithm.num_minibatches={num_minibatches} does not divide the {num_responses} responses of {of}. "
        f"The nearest that do: {', '.join(map(str, sorted(nearest)))}."
    )
