"""How often the host waits for the device: for each sampled token, for each layer of the model and for each micro-batch of the update.

Counts are slopes, so that what a whole step needs once is not in them: tokens 8 against 16, layers 2 against 6, micro-batches 2
against 4 of the same size.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from gpu_device import Device, Lines
from gpu_notes import Notes
from gpu_sizes import DEEPER, TEXT_TOY, Setting, built
from gpu_step import Step

from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine
from vlm_rl.types import QueryBatch, Trajectory, select

STATED_PER_TOKEN, STATED_PER_LAYER = 1, 0  # what the project's tests on the CPU count
FEW, MANY = 8, 16  # tokens
SAMPLING, UPDATE, CLEAN = "sampling", "update", "no device error"


@dataclass(frozen=True, kw_only=True)
class Slope:
    """Synchronisations for each unit more, in all and by line."""

    total: float
    lines: dict[str, float]

    @classmethod
    def between(cls, few: Lines, many: Lines, *, units: int) -> "Slope":
        """From the counts of two runs, of which the second had so many units more."""
        lines = {line: (many[line] - few[line]) / units for line in sorted(few | many) if many[line] != few[line]}
        return cls(total=sum(lines.values()), lines=lines)

    @property
    def numbers(self) -> dict[str, object]:
        """For the notes."""
        return {"total": self.total, "lines": self.lines}


class Counting:
    """A small model of so many layers on the device."""

    def __init__(self, setting: Setting, *, num_layers: int) -> None:
        case = setting.small(num_layers=num_layers)
        self.experiment = built(case, setting.device)
        self.device: Device = setting.device
        self.step = Step(case, self.experiment, setting.device)
        self._engine = HuggingFaceEngine(forward_batch_size=256)
        self._engine.load(self.experiment.policy)

    @torch.no_grad()
    def sampled(self, queries: QueryBatch, *, num_tokens: int) -> Lines:
        """Of one call of the engine."""
        settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=num_tokens, num_samples=2)
        seeds = np.arange(2 * len(queries.rows), dtype=np.int64).reshape(-1, 2)
        with self.device.counted() as lines:
            self._engine.generate(queries, settings, seeds)
        return Counter(lines)

    @torch.no_grad()
    def queries(self) -> QueryBatch:
        """Prompts whose pictures have been seen."""
        return self.step.queries()

    def per_token(self) -> Slope:
        """After one call that is not counted: the first use of a kernel synchronises too."""
        queries = self.queries()
        self.sampled(queries, num_tokens=FEW)
        few, many = (self.sampled(queries, num_tokens=count) for count in (FEW, MANY))
        return Slope.between(few, many, units=MANY - FEW)

    @torch.no_grad()
    def trajectory(self) -> Trajectory:
        """Eight responses, scored."""
        queries, module = self.queries(), self.experiment.module
        return module.generate_trajectory(queries, module.collect_responses(queries)).trajectory

    def updated(self, trajectory: Trajectory) -> tuple[Lines, int]:
        """Of one update, and its micro-batches."""
        module, rows = self.experiment.module, len(trajectory)
        with self.device.counted() as lines:
            module._update.update(trajectory, self.experiment.policy, self.step.stepper, step=0)
        return Counter(lines), rows // 2

    def per_micro_batch(self) -> Slope:
        """Two responses each, to the same question."""
        whole = self.trajectory()
        half = select(whole, torch.arange(len(whole) // 2, device=self.device.name))
        self.updated(whole)
        (few, fewer), (many, more) = self.updated(half), self.updated(whole)
        return Slope.between(few, many, units=more - fewer)


def measure_synchronisations(setting: Setting, notes: Notes) -> None:
    """Sampling at two depths, then the update."""
    depth = int(TEXT_TOY["num_hidden_layers"])
    shallow, deep = Counting(setting, num_layers=depth), Counting(setting, num_layers=DEEPER)
    try:
        token, deeper = shallow.per_token(), deep.per_token()
        stated = {"stated_per_token": STATED_PER_TOKEN, "stated_per_layer": STATED_PER_LAYER}
        per_layer = (deeper.total - token.total) / (DEEPER - depth)
        notes.add(SAMPLING, {"per_token": token.numbers, "per_token_and_layer": per_layer} | stated)
        notes.add(UPDATE, {"per_micro_batch": shallow.per_micro_batch().numbers})
        setting.device.synchronise()  # an error of the device would be raised here at the latest
        notes.add(CLEAN, {"errors": 0})
    finally:
        shallow.experiment.reward.close()
        deep.experiment.reward.close()
