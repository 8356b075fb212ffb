"""Small experiments and trajectories on the tiny VLM. Nothing here depends on what the model can do."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import torch
from PIL import Image
from torch import Tensor

from vlm_rl.commands.build import Experiment, build, composed
from vlm_rl.models import parts
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.step4_policy_update import PolicyUpdate, Stepper
from vlm_rl.types import Trajectory, UpdateStats, select

Build = Callable[..., Experiment]


class Sheet:
    """A picture of one gradient, told apart by its number."""

    def __init__(self, number: int, *, width: int = 84, height: int = 56) -> None:
        self.key = f"sheet-{number}-{width}-{height}"
        self._image = Image.linear_gradient("L").rotate(37 * number).resize((width, height)).convert("RGB")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self._image.size

    def load(self) -> Image.Image:
        """The picture."""
        return self._image


def small(*overrides: str, tremble: bool = True) -> Experiment:
    """The smoke experiment with overrides, built but not trained."""
    experiment = build(composed(["experiment=smoke", "dataset.max_new_tokens=24", *overrides]))
    if tremble:
        trembling(experiment.policy)
    return experiment


def trembling(policy: Policy, *, size: float = 0.02) -> None:
    """Adapters begin as no change at all; here every trained weight moves a little, so that they matter."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trained(policy).values():
            parameter += size * torch.randn(parameter.shape, generator=generator)


def trained(policy: Policy) -> dict[str, torch.nn.Parameter]:
    """What the optimizer moves."""
    return {name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad}


def gradients(policy: Policy) -> dict[str, Tensor]:
    """The gradients, taken away from the policy."""
    taken = {name: p.grad.clone() for name, p in trained(policy).items() if p.grad is not None}
    policy.zero_grad(set_to_none=True)
    return taken


def roll_out(experiment: Experiment, *, step: int = 0) -> Trajectory:
    """Steps I to III; scores are drawn and three of four responses count as ended, whatever the model wrote."""
    module = experiment.module
    queries = module.data_flow.queries(step)
    trajectory = module.generate_trajectory(queries, module.collect_responses(queries)).trajectory
    scores = torch.rand(len(trajectory), generator=torch.Generator().manual_seed(1))
    return replace(trajectory, scores=scores, terminated=torch.arange(len(trajectory)) % 4 != 0)


@contextmanager
def pixels_stay() -> Iterator[None]:
    """Images that are encoded meanwhile stay pixels, as those of a vision tower that is trained do."""
    with mock.patch.object(Policy, "encodes_images_once", False):
        yield


class Hand:
    """Steps an optimizer without Lightning, and keeps the gradients that each step saw."""

    def __init__(self, experiment: Experiment, *, optimizer: torch.optim.Optimizer | None = None) -> None:
        policy, settings = experiment.policy, experiment.policy.optimization
        self.optimizer = optimizer or settings.optimizer(parts.trained(policy.vlm), scale=1.0)
        self.seen: list[dict[str, Tensor]] = []
        self.losses: list[float] = []
        self._policy = policy
        self.stepper = Stepper(
            backward=self._backward,
            optimizer=self.optimizer,
            step=self._step,
            schedule=settings.schedule(self.optimizer, num_updates=100),
        )

    def _backward(self, loss: Tensor) -> None:
        self.losses.append(float(loss))
        loss.backward()

    def _step(self) -> None:
        self.seen.append({name: p.grad.clone() for name, p in trained(self._policy).items() if p.grad is not None})
        self.optimizer.step()


def standing(
    experiment: Experiment, trajectory: Trajectory, *, max_skipped_updates: int = 2, step: int = 0
) -> tuple[UpdateStats, Hand]:
    """The updates of one generation step at a learning rate of 0."""
    policy = experiment.policy
    policy.zero_grad(set_to_none=True)
    hand = Hand(experiment, optimizer=torch.optim.SGD(trained(policy).values(), lr=0.0))
    update = PolicyUpdate(algorithm=experiment.algorithm, batch_size=8, seed=0, max_skipped_updates=max_skipped_updates)
    return update.update(trajectory, policy, hand.stepper, step=step), hand


def largest_difference(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    """Over all tensors, in units of the largest entry."""
    assert left.keys() == right.keys()
    assert left
    largest = max(float(tensor.abs().max()) for tensor in left.values())
    return max(float((left[name] - right[name]).abs().max()) for name in left) / largest


def shuffled(trajectory: Trajectory, order: Sequence[int]) -> Trajectory:
    """The same responses in another order."""
    return select(trajectory, torch.tensor(order))
