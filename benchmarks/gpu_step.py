"""One generation step (Steps I to IV) of a model with random weights, twice from the same state: seconds, memory, and whether bits repeat.

The first pass warms up; seconds and memory are the second one's, when the optimizer has its states, as the preflight assumes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from unittest import mock

import torch
from gpu_device import Device
from gpu_notes import Notes
from gpu_sizes import STEP, Setting, built, config_of, rows_of
from memory_cases import Case
from memory_estimate import LEARN, LOOK, PARTS_OF, SAMPLE, SCORE, estimated
from torch import Tensor

from vlm_rl.commands.build import Experiment
from vlm_rl.models import parts
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.step3_trajectory_generation import response_logprobs
from vlm_rl.pipeline.step4_policy_update import Stepper
from vlm_rl.types import QueryBatch, Trajectory

FIRST, SECOND = "first pass", "second pass"
ESTIMATE = "estimate"
ENCODE, CHECK = "encode", "check"
OF_STEP = (ENCODE, LOOK, SAMPLE, SCORE, LEARN)  # `check` compares engine and trainer: a run does it at every 50th step
COMPARED = ("ids", "engine_logprobs", "reference_logprobs", "trainer_logprobs", "gradients")


@dataclass(kw_only=True)
class Pass:
    """What one pass through the step took and made; tensors on the CPU."""

    seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    made: dict[str, Tensor] = field(default_factory=dict)
    mask: Tensor = field(default_factory=lambda: torch.zeros(0))

    @property
    def numbers(self) -> dict[str, object]:
        """For the notes."""
        tokens = int(self.mask.sum())
        difference = (self.made["engine_logprobs"] - self.made["trainer_logprobs"]).abs()[self.mask]
        return {
            "seconds": self.seconds,
            "step_seconds": sum(self.seconds[phase] for phase in OF_STEP),
            "peak_bytes": self.peak_bytes,
            "sampled_tokens": tokens,
            "tokens_per_second": tokens / self.seconds[SAMPLE],
            "engine_against_trainer": {"mean": float(difference.mean()), "max": float(difference.max())},
            "mean_surprise": float(-self.made["engine_logprobs"][self.mask].mean()),
        }


class Step:
    """A built experiment and its optimizer, without Lightning."""

    def __init__(self, case: Case, experiment: Experiment, device: Device) -> None:
        self._case, self._experiment, self._device = case, experiment, device
        policy = experiment.policy
        self.trained = [p for p in policy.parameters() if p.requires_grad]
        self._optimizer = policy.optimization.optimizer(parts.trained(policy.vlm), scale=1.0)
        self._gradients: list[Tensor] = []
        self.stepper = Stepper(
            backward=lambda loss: loss.backward(),  # type: ignore[no-untyped-call]
            optimizer=self._optimizer,
            step=self._step,
            schedule=policy.optimization.schedule(self._optimizer, num_updates=100),
        )

    def _step(self) -> None:
        """Keeps the gradients as they are, clipped; they are copied when no clock runs."""
        self._gradients = [p.grad for p in self.trained if p.grad is not None]
        self._optimizer.step()

    def queries(self) -> QueryBatch:
        """Step I, on the device."""
        rows = rows_of(self._case)
        return self._experiment.encoder.batch(rows, indices=range(len(rows)), step=STEP).to(self._device.name)

    def run(self) -> Pass:
        """All four steps and the comparison of engine and trainer."""
        policy, module, done = self._experiment.policy, self._experiment.module, Pass()
        with self._measured(done, ENCODE), mock.patch.object(Policy, "encodes_images_once", False):  # pixels stay pixels
            asked = self.queries()
        with self._measured(done, LOOK):
            queries = replace(asked, images=tuple(images and policy.encode_images(images) for images in asked.images))
        with torch.no_grad(), self._measured(done, SAMPLE):
            responses = module.collect_responses(queries)
        with torch.no_grad(), self._measured(done, SCORE):
            trajectory = module.generate_trajectory(queries, responses).trajectory
        with self._measured(done, CHECK):
            trainer = response_logprobs(policy, trajectory)
        with self._measured(done, LEARN):
            module._update.update(trajectory, policy, self.stepper, step=STEP)
        self._keep(done, trajectory, trainer)
        return done

    def _keep(self, done: Pass, trajectory: Trajectory, trainer: Tensor) -> None:
        assert trajectory.ref_logprobs is not None
        done.mask = trajectory.response_mask.cpu()
        done.made = {
            "ids": trajectory.response_ids.cpu(),
            "engine_logprobs": trajectory.engine_logprobs.cpu(),
            "reference_logprobs": trajectory.ref_logprobs.cpu(),
            "trainer_logprobs": trainer.cpu(),
            "gradients": torch.cat([gradient.flatten().cpu() for gradient in self._gradients]),
        }
        self._gradients = []

    @contextmanager
    def _measured(self, done: Pass, name: str) -> Iterator[None]:
        self._device.synchronise()
        self._device.reset_peak()
        begun = time.perf_counter()
        yield
        self._device.synchronise()
        done.seconds[name] = time.perf_counter() - begun
        done.peak_bytes[name] = self._device.peak_bytes()


def measure_step(setting: Setting, notes: Notes, *, model: str) -> None:
    """Builds the model on the device and runs the step twice."""
    case, begun = setting.case(model), time.perf_counter()
    experiment = built(case, setting.device)
    try:
        measured(case, experiment, setting.device, notes, begun=begun)
    finally:
        experiment.reward.close()


def measured(case: Case, experiment: Experiment, device: Device, notes: Notes, *, begun: float) -> None:
    """The two passes, each noted as soon as it is done."""
    device.synchronise()
    build_seconds = time.perf_counter() - begun
    step = Step(case, experiment, device)
    before = [parameter.detach().to("cpu", copy=True) for parameter in step.trained]
    first = step.run()
    size = sum(parameter.numel() for parameter in experiment.policy.vlm.parameters())
    about = {"build_seconds": build_seconds, "parameters": size, "trained_parameters": sum(p.numel() for p in step.trained)}
    notes.add(FIRST, about | first.numbers)
    with torch.no_grad():
        for parameter, value in zip(step.trained, before, strict=True):
            parameter.copy_(value)
    second = step.run()
    repeated = {name: compared(first.made[name], second.made[name]) for name in COMPARED}
    notes.add(SECOND, about | second.numbers | {"repetition": repeated})


def compared(left: Tensor, right: Tensor) -> dict[str, object]:
    """Whether two tensors have the same bits; if not, how many entries differ and by how much, beside the largest entry."""
    if left.shape != right.shape:
        raise ValueError(f"Two passes from the same seed made tensors of {tuple(left.shape)} and {tuple(right.shape)}.")
    same = bool(torch.equal(left, right))
    return {
        "same_bits": same,
        "differing_share": 0.0 if same else float((left != right).double().mean()),
        "largest_difference": 0.0 if same else float((left.double() - right.double()).abs().max()),
        "largest_entry": float(left.abs().max()),
    }


def estimate(setting: Setting, notes: Notes, *, model: str) -> None:
    """The preflight's memory of the same step, from the config alone."""
    case = setting.case(model)
    cfg = config_of(case, setting.device)
    totals = {phase.name: phase.total for phase in estimated(case, cfg, on_gpu=setting.device.name == "cuda")}
    notes.add(ESTIMATE, {"bytes": {name: max(totals[part] for part in of) for name, of in PARTS_OF.items()}})
