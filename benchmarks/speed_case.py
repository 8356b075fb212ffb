"""One setting of benchmarks/speed.py: what ours and TRL are both asked to do, and what each writes about it."""

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from vlm_rl.commands.build import composed
from vlm_rl.datasets.micro_geometry.dataset import MicroGeometrySource
from vlm_rl.datasets.row import Row

OWN_LENGTH = 96  # the most tokens of a response where the model ends it itself: dataset.max_new_tokens of micro_geometry
SIDE = 28  # pixels of the square that becomes one image token in Qwen2.5-VL
RATIO = 1.5  # width over height of the figures
STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class SpeedCase:
    """One generation step, in numbers."""

    label: str = "tiny"  # of the model, in tables
    model: str = "tiny"  # model.name; another one is a folder without weights, which are drawn at random
    num_prompts: int = 16
    group_size: int = 8
    updates: int = 1  # optimizer steps of a generation step
    image_tokens: int | None = None  # of a prompt, about; None: the figures as they are, 24 tokens
    response_tokens: int | None = None  # of every response; None: the model ends its responses itself
    steps: int = 3  # that are measured; one more comes before them and warms up
    threads: int = 2

    @property
    def name(self) -> str:
        """Of its files."""
        more = {"i": self.image_tokens, "r": self.response_tokens}
        return f"{self.label}-{self.num_prompts}x{self.group_size}-u{self.updates}" + "".join(
            f"-{k}{n}" for k, n in more.items() if n
        )

    @property
    def num_responses(self) -> int:
        """Of a generation step."""
        return self.num_prompts * self.group_size

    @property
    def picture(self) -> tuple[int, int] | None:
        """Width and height in pixels of pictures that become `image_tokens` tokens, or one row of them more or less."""
        if self.image_tokens is None:
            return None
        width = round(math.sqrt(RATIO * self.image_tokens))
        return SIDE * width, SIDE * round(self.image_tokens / width)

    def overrides(self) -> list[str]:
        """The command line of the run."""
        return [
            f"model.name={self.model}",
            f"model.untrained={str(self.model != 'tiny').lower()}",
            "model.optimization.learning_rate=1e-5",  # small, so that all steps sample from nearly one distribution
            f"algorithm={'grpo' if self.group_size > 1 else 'reinforce_pp'}",  # without groups: the same loss and passes
            "algorithm.kl_loss_coef=0.04",
            "algorithm.old_logprobs=engine",  # the embedded engine is the policy; with one update neither side computes them
            f"algorithm.group_size={self.group_size}",
            f"algorithm.num_minibatches={self.updates}",
            f"dataset.batch_size={self.num_prompts}",
            f"dataset.source.train_rows={self.num_prompts * (1 + self.steps)}",
            "dataset.source.val_rows=8",
            "dataset.source.test_rows=8",
            "dataset.epochs=1",
            f"dataset.max_new_tokens={self.response_tokens or OWN_LENGTH}",
            "dataset.max_prompt_tokens=8192",
            "trainer.accelerator=cpu",
            "preflight.cache=null",
            "dataset.source._target_=speed_case.DecodedSource",
            f"+dataset.source.picture={list(self.picture) if self.picture else 'null'}",
        ]

    def composed(self) -> Any:
        """The config of the run."""
        return composed(self.overrides())


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A picture that was drawn beforehand; TRL gets it so too."""

    key: str  # of the content, so that features of two sizes are not taken for each other
    picture: Any

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.picture.width), int(self.picture.height)

    def load(self) -> Any:
        """The picture."""
        return self.picture


class DecodedSource(MicroGeometrySource):
    """The embedded rows with their pictures drawn beforehand. `picture`: width and height in pixels; None: as they are."""

    def __init__(self, *, picture: Sequence[int] | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._size = picture and (picture[0], picture[1])

    def rows(self, split: str) -> Sequence[Row]:
        """All of a split at once."""
        return [replace(row, images=tuple(map(self._decoded, row.images))) for row in super().rows(split)]

    def _decoded(self, figure: Any) -> Decoded:
        drawn = figure.load()
        if self._size is None:
            return Decoded(key=figure.key, picture=drawn)
        return Decoded(key=f"{figure.key}-{self._size[0]}x{self._size[1]}", picture=drawn.resize(self._size))


@dataclass(frozen=True, kw_only=True)
class Step:
    """What was measured of one generation step, from the end of the one before to its own."""

    seconds: float
    cpu_seconds: float  # user and system time of this process, over all its threads
    phases: dict[str, float]  # seconds
    rows: list[str]  # ids of the prompts' rows, in order
    prompts: str  # see `digest`
    prompt_tokens: list[int]
    response_tokens: list[int]


def digest(prompts: Sequence[Sequence[int]]) -> str:
    """Of the ids of different prompts, in any order and as often as one likes."""
    different = sorted({tuple(ids) for ids in prompts})
    return sha256(json.dumps(different).encode()).hexdigest()


class Clock:
    """Wall and CPU seconds since the last reading."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()

    def read(self) -> dict[str, float]:
        """As fields of a Step."""
        wall, cpu = time.perf_counter(), cpu_seconds()
        told = {"seconds": wall - self._wall, "cpu_seconds": cpu - self._cpu}
        self._wall, self._cpu = wall, cpu
        return told


def cpu_seconds() -> float:
    """User and system time of this process, over all its threads."""
    times = os.times()
    return times.user + times.system


class Memory:
    """Resident memory beyond what the process has when this is made: Linux counts its peak anew from there on."""

    def __init__(self) -> None:
        self._loaded = _bytes_of("VmRSS")
        if self._loaded is not None:
            Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM to what is resident now

    def beyond(self) -> int | None:
        """Bytes between the peak and what was resident before; None where the system is not Linux."""
        return None if self._loaded is None else (_bytes_of("VmHWM") or 0) - self._loaded


def _bytes_of(key: str) -> int | None:
    if not STATUS.exists():
        return None
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def write(file: Path, *, case: SpeedCase, steps: Sequence[Step], memory: int | None, **more: Any) -> None:
    """What a process found; the first step is left out, it warmed up."""
    told = {"case": asdict(case), "warm_up": asdict(steps[0]), "steps": [asdict(step) for step in steps[1:]], "memory": memory}
    file.write_text(json.dumps(told | more, indent=1), encoding="utf-8")


def read_case(text: str) -> SpeedCase:
    """A case from the JSON that a command line carries."""
    return SpeedCase(**json.loads(text))
