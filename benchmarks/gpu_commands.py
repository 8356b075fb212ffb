"""The command lines that a user types, on the shipped tiny model: a whole run, an interrupted one that goes on, and an evaluation."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_notes import Notes
from gpu_sizes import Setting
from gpu_step import compared
from safetensors.torch import load_file

from vlm_rl.callbacks.saved_steps import saved_steps
from vlm_rl.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
WHOLE, INTERRUPTED, RESUMED, EVALUATED = "whole run", "interrupted run", "resumed run", "evaluation"
STAGES = (WHOLE, INTERRUPTED, RESUMED, EVALUATED)
ENDED_BY_SIGNAL = 130  # exit code of a run that SIGTERM asked to stop
PATIENCE = 100  # seconds until the first step of a run must be saved
ADAPTER = "adapter_model.safetensors"
TOY = (  # few tokens and rows
    "dataset.max_new_tokens=8",
    "dataset.source.train_rows=8",
    "dataset.source.val_rows=2",
    "dataset.source.test_rows=2",
    "dataset.batch_size=2",
    "evaluation.pass_at_1_samples=1",
)


class Commands:
    """Runs commands in a folder of their own; their output goes to this process's."""

    def __init__(self, setting: Setting) -> None:
        self._folder = setting.work / "commands"
        self._folder.mkdir(parents=True, exist_ok=True)
        on_gpu = setting.device.name == "cuda"
        self._overrides = (*(TOY if setting.sizes == "toy" else ()), *(() if on_gpu else ("trainer.accelerator=cpu",)))
        self._on_gpu = on_gpu
        old = os.environ.get("PYTHONPATH")
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *([old] if old else [])])}
        self._environment |= {"VLM_RL_CACHE": str(setting.work / "cache"), "HF_HUB_OFFLINE": "1"}

    def train(self, study: str) -> "Running":
        """`train.py experiment=smoke study=...`."""
        return self._start("train.py", ["experiment=smoke", f"study={study}", *self._overrides], study=study)

    def evaluate(self, study: str) -> "Running":
        """`evaluate.py checkpoint=...` of the study's run."""
        return self._start("evaluate.py", [f"checkpoint={self.run(study).relative_to(self._folder)}"], study=study)

    def _start(self, script: str, words: Sequence[str], *, study: str) -> "Running":
        typed = [sys.executable, str(ROOT / script), *words]
        print("$", *typed, flush=True)
        return Running(subprocess.Popen(typed, cwd=self._folder, env=self._environment), words=[script, *words])

    def run(self, study: str) -> Path:
        """The folder of the study's only run."""
        found = sorted((self._folder / "outputs" / study).glob("[!v]*/seed-0"))  # not vanilla-..., the vanilla model's
        if len(found) != 1:
            raise RuntimeError(f"outputs/{study} holds {len(found)} runs and not one.")
        return found[0]

    def has_begun(self, study: str) -> bool:
        """Whether a step of the study's run is saved."""
        runs = (self._folder / "outputs" / study).glob("[!v]*/seed-0")
        return any(saved_steps(RunFolder(path=run)) for run in runs)

    def adapter(self, study: str) -> dict[str, torch.Tensor]:
        """The trained weights of the last checkpoint of a run."""
        last = saved_steps(RunFolder(path=self.run(study)))[-1]
        weights: dict[str, torch.Tensor] = load_file(last.path / ADAPTER)
        return weights

    def gpu_bytes(self, folder: Path) -> dict[str, Any]:
        """Largest GPU memory that a run told of; on a GPU nothing at all means that it ran on the CPU without a word."""
        lines = [json.loads(line) for file in folder.rglob("cost.jsonl") for line in file.read_text().splitlines()]
        most = max((line.get("memory/peak_bytes", 0) for line in lines), default=0)
        if self._on_gpu and not most:
            raise RuntimeError(f"{folder.name}: no memory of the GPU was used, so this ran on the CPU.")
        return {"peak_bytes": most}


class Running:
    """A command that was started."""

    def __init__(self, process: subprocess.Popen[bytes], *, words: Sequence[str]) -> None:
        self._process, self._words, self._begun = process, " ".join(words), time.perf_counter()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def interrupt(self) -> None:
        """SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def ended(self, *, code: int) -> dict[str, Any]:
        """Waits; raises RuntimeError where the exit code is another."""
        found = self._process.wait()
        if found != code:
            raise RuntimeError(
                f"`python {self._words}` ended with exit code {found} and not {code}; what it said is in gpu.log."
            )
        return {"command": f"python {self._words}", "exit_code": found, "seconds": time.perf_counter() - self._begun}


def measure_commands(setting: Setting, notes: Notes) -> None:
    """In order: whole, interrupted, resumed, evaluated; each must end as it should."""
    commands = Commands(setting)
    told = commands.train("whole").ended(code=0)
    notes.add(WHOLE, told | commands.gpu_bytes(commands.run("whole")))
    halted = commands.train("halted")
    wait_for_first_step(commands, halted)
    halted.interrupt()
    notes.add(INTERRUPTED, halted.ended(code=ENDED_BY_SIGNAL))
    told = commands.train("halted").ended(code=0)
    whole, resumed = (
        torch.cat([weights[name].flatten() for name in sorted(weights)])
        for weights in (commands.adapter("whole"), commands.adapter("halted"))
    )
    notes.add(RESUMED, told | {"adapter": compared(whole, resumed)})
    told = commands.evaluate("whole").ended(code=0)
    notes.add(EVALUATED, told | commands.gpu_bytes(commands.run("whole") / "evaluate"))


def wait_for_first_step(commands: Commands, halted: Running) -> None:
    """Returns as soon as the first checkpoint is whole."""
    end = time.monotonic() + PATIENCE
    while not commands.has_begun("halted"):
        if halted.is_over or time.monotonic() > end:
            raise RuntimeError(f"The run that was to be interrupted saved no first step within {PATIENCE} s, or ended before.")
        time.sleep(0.02)
