"""Step IV of Fig. 2: advantages, then N clipped optimizer steps.

The loss of a mini-batch is a weighted sum over tokens, with weights made from counts of all ranks (those of a mean add up to 1).
Micro-batches only add up their shares, so neither the split, the order, the number of ranks nor which rank has a row changes the gradient.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from vlm_rl.algorithms.algorithm import Algorithm, AlgorithmLoss
from vlm_rl.masking import add_up_over_ranks, has_other_ranks, pooled
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.balanced_ranks import balanced
from vlm_rl.pipeline.micro_batches import forward_batches, mini_batches
from vlm_rl.types import MiniBatch, Tokens, Trajectory, UpdateStats, extended, select

TOKEN_SUMS = ("tokens", "loss", "kl", "entropy", "ratio", "clipped")


class NonFiniteUpdates(RuntimeError):
    """Too many updates in a row had a non-finite loss or gradient."""


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """What the update needs of Lightning: backward, optimizer and schedule."""

    backward: Callable[[Tensor], None]  # adds to the gradients of this rank
    optimizer: torch.optim.Optimizer
    step: Callable[[], None]
    schedule: torch.optim.lr_scheduler.LRScheduler


class PolicyUpdate:
    """Makes N = num_minibatches x ppo_epochs optimizer steps on one trajectory."""

    def __init__(self, *, algorithm: Algorithm, batch_size: int, seed: int, max_skipped_updates: int) -> None:
        self._algorithm, self._seed, self._num_responses = algorithm, seed, batch_size * algorithm.group_size
        self._max_skipped, self._skipped_in_a_row = max_skipped_updates, 0

    def update(self, trajectory: Trajectory, policy: Policy, stepper: Stepper, *, step: int) -> UpdateStats:
        """All optimizer steps of one generation step."""
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
                together=self._algorithm.kept_together(self._num_responses),
            ):
                mini_batch = self._mini_batch(select(trajectory, chosen), advantages[chosen])
                if has_other_ranks():
                    mini_batch = balanced(mini_batch, is_shared=policy.sharing.is_possible(policy))
                token_sums = pooled(self._gradients(mini_batch, policy, stepper))
                norms.append(self._step(policy, stepper, loss=float(token_sums[TOKEN_SUMS.index("loss")])))
                if math.isfinite(norms[-1]):
                    sums += token_sums
        return self._stats(sums, norms, learning_rate)

    def _mini_batch(self, rows: Trajectory, advantages: Tokens) -> MiniBatch:
        """Adds advantages and token weights. Every rank must call this, even one without rows: token counts are pooled over ranks."""
        mask = self._algorithm.loss_mask(rows)
        weights = self._algorithm.token_weights(mask)
        return extended(rows, MiniBatch, advantages=advantages[:, : mask.shape[1]], token_weights=weights)

    def _gradients(self, mini_batch: MiniBatch, policy: Policy, stepper: Stepper) -> Tensor:
        """The gradient of one mini-batch, micro-batch by micro-batch, added up over ranks; returns sums over this rank's tokens."""
        sums = torch.zeros(len(TOKEN_SUMS), dtype=torch.float64, device=mini_batch.advantages.device)
        max_tokens = policy.optimization.micro_batch_tokens
        with policy.layout.gathered():
            groups = policy.shared_groups(mini_batch)
            batches = forward_batches(mini_batch.lengths, max_tokens=max_tokens, groups=groups)
            for chosen in policy.in_step(batches, backward=stepper.backward):
                sums += learn(policy, self._algorithm, select(mini_batch, chosen), backward=stepper.backward)
        add_up_over_ranks(policy.trained_parameters)
        return sums

    def _step(self, policy: Policy, stepper: Stepper, *, loss: float) -> float:
        """Clips the gradient and steps. Returns its norm before clipping, or NaN if the update was skipped, on every rank alike,
        because loss or gradient is not finite. A loss can be NaN although its gradient is finite: a clamp has no slope there.
        """
        norm = clip_gradients(policy)
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


def learn(policy: Policy, algorithm: Algorithm, micro_batch: MiniBatch, *, backward: Callable[[Tensor], None]) -> Tensor:
    """Adds the gradient of one micro-batch; returns the sums over its tokens."""
    statistics = policy.statistics(micro_batch)
    result = algorithm.loss(statistics.logprobs, micro_batch)
    backward(result.loss)
    return sums_over_tokens(result, micro_batch, statistics.entropy.detach())


def clip_gradients(policy: Policy) -> float:
    """Scales the gradients down to `max_grad_norm`; returns their norm before."""
    parameters, limit = policy.trained_parameters, policy.optimization.max_grad_norm
    shards = [parameter for parameter in parameters if isinstance(parameter, DTensor)]
    if not shards:
        return float(nn.utils.clip_grad_norm_(parameters, limit))
    whole = [parameter for parameter in parameters if not isinstance(parameter, DTensor)]
    norms = [nn.utils.get_total_norm([p.grad for p in kind if p.grad is not None]) for kind in (shards, whole) if kind]
    norm = torch.linalg.vector_norm(torch.stack([n.full_tensor() if isinstance(n, DTensor) else n for n in norms]))
    for kind in (shards, whole):  # PyTorch clips no mixture of both
        nn.utils.clip_grads_with_norm_(kind, limit, norm)
    return float(norm)


def sums_over_tokens(result: AlgorithmLoss, micro_batch: MiniBatch, entropy: Tokens) -> Tensor:
    """Sums over the tokens of a micro-batch, in the order of TOKEN_SUMS; NaN where an algorithm has no such thing."""
    mask = micro_batch.response_mask
    missing = torch.full((), torch.nan, dtype=torch.float64, device=mask.device)
    per_token = (result.kl, entropy, result.ratio, result.clipped)
    sums = [missing if values is None else values.double()[mask].sum() for values in per_token]
    return torch.stack([mask.sum().double(), result.loss.detach().double(), *sums])


def check_minibatches(algorithm: Algorithm, *, batch_size: int) -> None:
    """Raise ValueError naming the nearest divisors where the responses do not make `num_minibatches` equal mini-batches."""
    num_responses, num_minibatches = batch_size * algorithm.group_size, algorithm.num_minibatches
    if num_responses % num_minibatches == 0:
        return
    divisors = [n for n in range(1, num_responses + 1) if num_responses % n == 0]
    nearest = sorted(divisors, key=lambda n: abs(n - num_minibatches))[:2]
    raise ValueError(
        f"algorithm.num_minibatches={num_minibatches} does not divide the {num_responses} responses of a generation step "
        f"(dataset.batch_size x algorithm.group_size). The nearest that do: {', '.join(map(str, sorted(nearest)))}."
    )
