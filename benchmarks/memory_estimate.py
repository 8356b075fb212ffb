"""The preflight's estimate of memory against a real generation step: `python benchmarks/memory_estimate.py [tiny|reduced|nf4|real ...]`.

The estimate runs on fake tensors; the measurement trains. On a CPU two witnesses: the bytes of live tensors, phase by phase, and the
resident memory of a fresh process. On a GPU `torch.cuda.max_memory_allocated`. `reduced` is Qwen2.5-VL's architecture at a
width of 512 with 8 layers and 32,000 ids; `real` the sizes of Qwen2.5-VL 3B and 7B with random weights, on a GPU only.

Estimate against live tensors on two shared CPU cores, torch 2.15, transformers 5.23, the phases look, sample, score, learn:
    tiny, LoRA                         -1.2 %  -0.2 %  +0.3 %  -0.4 %
    tiny, full with a reference copy   -0.6 %  -0.1 %  +0.2 %  -0.3 %
    tiny, vision too                   +1.6 %  -0.1 %  +0.2 %  +6.1 %
    reduced, LoRA bf16                 -0.5 %  +0.1 %  +0.1 %  +2.7 %  (0.310 GiB at most, the process grew by 0.56)
    reduced, LoRA bf16, checkpointing  -0.5 %  +0.1 %  +0.1 %  +0.7 %  (0.161 GiB, 0.43)
    reduced, full float32              -0.2 %   0.0 %   0.0 %  +1.4 %  (1.222 GiB, 1.59 in an earlier run)
    reduced, full bf16                 +0.1 %  -3.2 %  +0.1 %  +0.8 %  (1.143 GiB, 1.46 in an earlier run)
    reduced, LoRA over NF4, bf16       -0.4 %  +0.4 %  +0.4 %  +3.4 %  (0.261 GiB)
    the same with checkpointing        -0.4 %  +0.4 %  +0.4 %  +1.3 %  (0.112 GiB)
    reduced, vision too, checkpointing +1.0 %   0.0 %  +0.1 %   0.0 %  (1.211 GiB)
On an idle CPU phases of the tiny model take 1.1 to 2.4 times their roofline seconds, but for looks of a few milliseconds.
`real` has not been run yet.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from hydra.utils import instantiate
from memory_cases import CASES, Case, overrides_of, rows_of, workload_of
from omegaconf import DictConfig
from torch.utils._python_dispatch import TorchDispatchMode

from vlm_rl.commands.build import Experiment, build, composed
from vlm_rl.device import peak_bytes
from vlm_rl.models import parts, vision
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.step4_policy_update import Stepper
from vlm_rl.preflight import phase as names
from vlm_rl.preflight.device import Machine, measured
from vlm_rl.preflight.phase import Phase
from vlm_rl.preflight.phases import trace
from vlm_rl.preflight.time_estimate import SLOWER, RunLength, duration
from vlm_rl.preflight.tracker import Tracker
from vlm_rl.types import ImageInput

LOOK, SAMPLE, SCORE, LEARN = "look", "sample", "score", "learn"
PARTS_OF = {  # which traced phases a measured one holds
    LOOK: (names.VISION,),
    SAMPLE: (names.PREFILL, names.FIRST_TOKENS, names.LAST_TOKENS),
    SCORE: (names.SCORING,),
    LEARN: (names.UPDATE, names.OPTIMIZER_STEP),
}
GIB = 2**30


def experiment_of(case: Case) -> Experiment:
    """The objects of the run, with random weights, on the device at hand."""
    made = build(composed(overrides_of(case)))
    made.policy.to("cuda" if torch.cuda.is_available() else "cpu")
    return made


def estimated(case: Case, cfg: DictConfig, *, on_gpu: bool) -> list[Phase]:
    """The phases on fake tensors."""
    with torch.device("meta"):
        policy = instantiate(cfg.model, temperature=cfg.rollout.temperature, seed=cfg.seed)
    return trace(policy, workload=workload_of(case, cfg, on_gpu=on_gpu))


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the real tensors that are made while it is on."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tracker = tracker

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self._tracker.record(func, args, kwargs or {}, out)
        return out


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a phase of a real step took."""

    num_bytes: int
    seconds: float


class Meter:
    """Peak and time of named stretches, on whatever device the policy is."""

    def __init__(self, experiment: Experiment, *, live_tensors: bool) -> None:
        self.found: dict[str, Measured] = {}
        self._tracker = Tracker()
        self._on_gpu = experiment.policy.device.type == "cuda"
        self.watch = Watch(self._tracker) if live_tensors and not self._on_gpu else nullcontext()
        modules = filter(None, (experiment.policy, experiment.policy.reference))
        self._tracker.label([t for module in modules for t in (*module.parameters(), *module.buffers())], "weights")

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Keeps the last measurement of a name."""
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        self._tracker.start()
        begun = time.perf_counter()
        yield
        if self._on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
        num_bytes = peak_bytes() if self._on_gpu else sum(self._tracker.peak().values())
        self.found[name] = Measured(num_bytes=num_bytes, seconds=seconds)


def num_bytes(images: ImageInput | None) -> int:
    """Of what the processor made of the pictures of a prompt."""
    return sum(value.nbytes for value in ((images and images.inputs) or {}).values())


def measured_step(case: Case, experiment: Experiment, *, live_tensors: bool = True) -> dict[str, Measured]:
    """Two generation steps; the second one is measured, since only then the optimizer has its states."""
    policy, module = experiment.policy, experiment.module
    policy.vlm.generation_config.eos_token_id = [
        policy.vlm.config.image_token_id
    ]  # never written: every response goes to its end
    policy.train()
    if experiment.algorithm.needs_reference:
        policy.keep_reference()
    optimizer = policy.optimization.optimizer(parts.trained(policy.vlm), scale=1e-3)
    stepper = Stepper(
        backward=lambda loss: loss.backward(),  # type: ignore[no-untyped-call]
        optimizer=optimizer,
        step=lambda: optimizer.step(),  # the schedule puts a counter around it
        schedule=policy.optimization.schedule(optimizer, num_updates=100),
    )
    meter = Meter(experiment, live_tensors=live_tensors)
    with meter.watch:
        for step in range(2):
            policy.vision_cache._features.clear()
            rows = rows_of(case)
            queries = experiment.encoder.batch(rows, indices=range(len(rows)), step=step).to(policy.device)
            policy.vision_cache._features.clear()
            with mock.patch.object(Policy, "encodes_images_once", False):  # pixels stay pixels
                largest = max(experiment.encoder.batch(rows, indices=range(len(rows)), step=step).images, key=num_bytes)
            with torch.no_grad(), policy.autocast(), meter.measure(LOOK):  # the tower alone, without the processor's own work
                made = None if largest is None or not policy.takes_features else vision.features_of(policy.vlm, largest)
            del made
            meter.found[LOOK] = replace(meter.found[LOOK], seconds=meter.found[LOOK].seconds * len(rows))
            del largest
            with torch.no_grad(), meter.measure(SAMPLE):
                responses = module.collect_responses(queries)
            with torch.no_grad(), meter.measure(SCORE):
                scored = module.generate_trajectory(queries, responses)
            with meter.measure(LEARN):
                module._update.update(scored.trajectory, policy, stepper, step=step)
            del responses, scored, queries
    return meter.found


@dataclass(frozen=True, kw_only=True)
class Line:
    """One phase of one case."""

    phase: str
    estimated: int  # bytes
    measured: int
    estimated_seconds: float  # if every response is written to its end
    seconds: float


def compared(case: Case) -> list[Line]:
    """Estimate and measurement of each phase."""
    torch.set_num_threads(case.num_threads)
    experiment = experiment_of(case)
    try:
        traced = estimated(case, experiment.cfg, on_gpu=torch.cuda.is_available())
        expected = expected_seconds(traced, case, experiment)
        found = measured_step(case, experiment)
    finally:
        experiment.reward.close()
    by_name = {phase.name: phase.total for phase in traced}
    return [
        Line(
            phase=name,
            estimated=max(by_name[part] for part in PARTS_OF[name]),
            measured=result.num_bytes,
            estimated_seconds=seconds,
            seconds=result.seconds,
        )
        for (name, result), seconds in zip(found.items(), expected, strict=True)
    ]


@cache
def machine_of(device: torch.device, *, num_threads: int) -> Machine:
    """The speed of a device, measured once in a process."""
    return measured(device, dtypes=("float32", "bfloat16"), num_threads=num_threads)


def expected_seconds(traced: list[Phase], case: Case, experiment: Experiment) -> list[float]:
    """Roofline seconds of the four measured phases; no run is that fast, see time_estimate.SLOWER."""
    machine = machine_of(experiment.policy.device, num_threads=case.num_threads)
    length = RunLength(num_steps=1, encoded_prompts=0, num_evaluations=0, evaluated_rows=0, evaluated_responses=0)
    work = workload_of(case, experiment.cfg, on_gpu=torch.cuda.is_available())
    found = duration(traced, workload=work, length=length, machine=machine)
    return [float(seconds[-1] / SLOWER[-1]) for seconds in found.phases.values()]


def unwatched(case: Case) -> dict[str, float]:
    """Seconds of each phase, and the largest resident memory of this process over what it had before the model was built."""
    torch.set_num_threads(case.num_threads)
    before = process_memory("VmRSS")
    experiment = experiment_of(case)
    try:
        found = measured_step(case, experiment, live_tensors=False)
    finally:
        experiment.reward.close()
    return {name: result.seconds for name, result in found.items()} | {"growth": process_memory("VmHWM") - before}


def process_memory(name: str) -> int:
    """Bytes, as Linux counts them: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def witness(name: str) -> dict[str, float]:
    """`unwatched` in a fresh process: counting live tensors takes time."""
    run = subprocess.run([sys.executable, __file__, "--witness", name], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def prepared(case: Case, folder: str) -> Case:
    """The case with its model's folder written."""
    if case.folder is None:
        return case
    case.folder(Path(folder))
    return replace(case, at=folder)


def report(case: Case) -> None:
    """Prints the table of one case."""
    with tempfile.TemporaryDirectory() as folder:
        lines = compared(prepared(case, folder))
    alone = {} if torch.cuda.is_available() else witness(case.name)
    print(f"{case.name}\n  {'phase':8}{'estimate':>12}{'measured':>12}{'error':>8}{'roofline':>11}{'measured':>11}")
    for line in lines:
        sizes = f"{line.estimated / GIB:8.3f} GiB{line.measured / GIB:8.3f} GiB{line.estimated / line.measured - 1:8.1%}"
        print(f"  {line.phase:8}{sizes}{line.estimated_seconds:9.2f} s{alone.get(line.phase, line.seconds):9.2f} s")
    most = max(line.estimated for line in lines)
    grown = f"; resident memory of a process grew by {alone['growth'] / GIB:.3f} GiB" if alone else ""
    print(f"  largest {most / GIB:.3f} GiB{grown}", flush=True)


def main(words: list[str]) -> None:
    """The tables of the sets that are named; all that this machine can run without any."""
    every = {case.name: case for cases in CASES.values() for case in cases}
    if words[:1] == ["--witness"]:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(unwatched(prepared(every[words[1]], folder))))
        return
    for name in words or ("tiny", "reduced", *(["real"] if torch.cuda.is_available() else [])):
        for case in CASES[name]:
            report(case)


if __name__ == "__main__":
    main(sys.argv[1:])
