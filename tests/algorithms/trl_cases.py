"""Random batches on which an algorithm of ours and TRL's own code give a loss and a gradient."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
import torch
from every_algorithm import algorithm
from torch import Tensor
from trajectories import bare, learning
from trl_stub import StubGrpo, StubRloo, StubTrainer

from vlm_rl.algorithms.algorithm import AlgorithmLoss
from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.types import Trajectory

SEEDS = range(12)
VOCAB, FEATURES, LENGTH = 11, 5, 9
ROUNDING = 1e-13  # of the loss and of the gradient's norm; measured: 4e-15


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A shipped algorithm, and the settings that make TRL's the same."""

    algorithm: str
    settings: dict[str, Any]  # ours
    trl: dict[str, Any]
    stub: type[StubTrainer] = StubGrpo
    widest_clip: float = 0.4  # the ratio of a response strays less than that of a token


SHARED = {
    "num_minibatches": 1,
    "kl_loss_coef": 0.0,
    "kl_loss_estimator": "k3",
    "mask_truncated": False,
    "dynamic_sampling": None,
}
EPSILON = {"std_epsilon": 1e-4}
OVER_TOKENS = {"scale_by": "batch", "loss_average": "token"}
SEQUENCE_RATIO = {"loss_type": "grpo", "importance_sampling_level": "sequence"}
UNSCALED = {"loss_type": "dr_grpo", "scale_rewards": "none", "max_completion_length": 13}
PAIRS = {
    "grpo": Pair(algorithm="grpo", settings=EPSILON, trl={"loss_type": "grpo"}),
    "grpo over tokens": Pair(
        algorithm="grpo", settings=EPSILON | OVER_TOKENS, trl={"loss_type": "bnpo", "scale_rewards": "batch"}
    ),
    "dapo": Pair(algorithm="dapo", settings=EPSILON, trl={"loss_type": "dapo"}),
    "dr_grpo": Pair(algorithm="dr_grpo", settings={"loss_length": 13}, trl=UNSCALED),
    "gspo": Pair(algorithm="gspo", settings=EPSILON, trl=SEQUENCE_RATIO, widest_clip=0.1),
    "rloo": Pair(algorithm="rloo", settings={}, trl={}, stub=StubRloo, widest_clip=0.3),
}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A softmax over VOCAB ids at each place, of a linear layer."""

    features: Tensor  # (batch, response, FEATURES)
    ids: Tensor  # that were sampled
    weight: Tensor  # (FEATURES, VOCAB), what is learned

    def logprobs(self) -> Tensor:
        """Of the sampled ids."""
        return (self.features @ self.weight).log_softmax(-1).gather(-1, self.ids[..., None])[..., 0]

    def shaken(self, *, by: float, generator: torch.Generator) -> "Model":
        """Another policy near this one, over the same ids."""
        noise = torch.randn(self.weight.shape, generator=generator)
        return replace(self, weight=self.weight.detach() + by * noise)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A batch, the model that learns from it, and the settings of both codes."""

    model: Model
    trajectory: Trajectory
    ours: PolicyGradient
    theirs: StubTrainer


def number(low: float, high: float, *, generator: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def random_case(name: str, *, seed: int, num_empty: int = 0, trl: dict[str, Any] | None = None, **changes: Any) -> Case:
    """Groups of 2 to 6 and two clip bounds; odd seeds have a KL term, one seed of three takes a single update."""
    pair, generator = PAIRS[name], torch.Generator().manual_seed(seed)
    beta, updates = (number(0.01, 0.5, generator=generator) if seed % 2 else 0.0), (1 if seed % 3 == 0 else 2)
    low, high = (number(0.02, pair.widest_clip, generator=generator) for _ in range(2))
    group_size, num_groups = 2 + seed % 5, int(number(8, 11, generator=generator))
    bounds = {"clip_low": low, "clip_high": high, "kl_reward_coef" if name == "rloo" else "kl_loss_coef": beta}
    sizes = {"ppo_epochs": updates, "group_size": group_size}
    ours = cast(PolicyGradient, algorithm(pair.algorithm, **SHARED | pair.settings | bounds | sizes | changes))
    model = random_model(group_size * num_groups, generator=generator)
    batch = random_batch(model, drift=0.25 if updates > 1 else 0.0, num_empty=num_empty, generator=generator)
    if seed % 4 == 1:
        batch = replace(batch, scores=(batch.scores > 0).to(batch.scores.dtype))  # right or wrong: groups without spread
    settings = {"beta": beta, "epsilon_low": low, "epsilon_high": high, "num_iterations": updates} | pair.trl | (trl or {})
    theirs = pair.stub(trajectory=batch, num_generations=group_size, settings=settings)
    return Case(model=model, trajectory=as_step_three(batch, ours), ours=ours, theirs=theirs)


def random_model(count: int, *, generator: torch.Generator) -> Model:
    return Model(
        features=torch.randn(count, LENGTH, FEATURES, generator=generator),
        ids=torch.randint(VOCAB, (count, LENGTH), generator=generator),
        weight=(0.5 * torch.randn(FEATURES, VOCAB, generator=generator)).requires_grad_(),
    )


def random_batch(model: Model, *, drift: float, num_empty: int, generator: torch.Generator) -> Trajectory:
    """Lengths of 1 to LENGTH, both of which occur; `drift` is how far the model has moved from the one that sampled."""
    count = len(model.ids)
    lengths = [1, *torch.randint(1, LENGTH + 1, (count - 2,), generator=generator).tolist(), LENGTH]
    lengths[1 : 1 + num_empty] = [0] * num_empty
    old, ref, engine = (model.shaken(by=by, generator=generator).logprobs() for by in (drift, 0.4, 0.3))
    return bare(
        lengths,
        scores=torch.randn(count, generator=generator).tolist(),
        terminated=(torch.rand(count, generator=generator) < 0.7).tolist(),
        old=old,
        ref=ref,
        engine=engine,
    )


def as_step_three(batch: Trajectory, ours: PolicyGradient) -> Trajectory:
    """Only what the algorithm asks for; TRL decides for itself what it keeps."""
    return replace(
        batch,
        old_logprobs=batch.old_logprobs if ours.needs_old_logprobs else None,
        ref_logprobs=batch.ref_logprobs if ours.needs_reference else None,
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A loss, and its gradient with respect to the log-probabilities and to the model's weight, in one row."""

    loss: float
    gradient: Tensor


def outcome(case: Case, loss_of: Callable[[Tensor], Tensor]) -> Outcome:
    logprobs = case.model.logprobs()
    loss = loss_of(logprobs)
    gradients = torch.autograd.grad(loss, [logprobs, case.model.weight])
    return Outcome(loss=loss.item(), gradient=torch.cat([gradient.flatten() for gradient in gradients]))


def scaled(one: Outcome, *, by: float) -> Outcome:
    return Outcome(loss=one.loss * by, gradient=one.gradient * by)


def our_loss(case: Case, logprobs: Tensor) -> AlgorithmLoss:
    return case.ours.loss(logprobs, learning(case.ours, case.trajectory))


def our_outcome(case: Case) -> Outcome:
    return outcome(case, lambda logprobs: our_loss(case, logprobs).loss)


def their_outcome(case: Case) -> Outcome:
    """TRL from scores to loss."""
    inputs = case.theirs.inputs()
    return outcome(case, lambda logprobs: case.theirs.loss(logprobs, inputs))


def assert_equal(ours: Outcome, theirs: Outcome) -> None:
    """To ROUNDING of the gradient's norm, which is not 0."""
    scale = theirs.gradient.norm().item()
    assert scale > 1e-4
    assert (ours.gradient - theirs.gradient).norm().item() < ROUNDING * scale
    assert ours.loss == pytest.approx(theirs.loss, rel=ROUNDING, abs=ROUNDING)
