"""What a part of benchmarks/gpu.py found, written down stage by stage: a part that is stopped keeps what it had reached."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_sizes import Setting

DONE, FAILED, SKIPPED, LATE = "done", "failed", "skipped", "out of time"


class Skipped(Exception):
    """This part cannot be had here, which is no failure."""


class Notes:
    """A JSON file that is whole at every moment."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.told: dict[str, Any] = {"machine": None, "stages": {}, "state": None, "reason": "", "ended_at": None}

    def add(self, stage: str, numbers: Mapping[str, Any]) -> None:
        """What a stage found."""
        self.told["stages"][stage] = dict(numbers)
        self.write()

    def write(self) -> None:
        """By rename, so that no half of a file is ever read."""
        self.told["ended_at"] = time.time()
        written = self._file.with_suffix(".tmp")
        written.write_text(json.dumps(self.told, indent=1), encoding="utf-8")
        os.replace(written, self._file)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One piece of the benchmark, run in a process of its own: a broken CUDA context or a lack of memory stays in there."""

    name: str
    measure: Callable[[Setting, Notes], None]
    stages: tuple[str, ...]  # what it notes, in order
    budget: float  # seconds; what earlier parts left over comes on top
    beside: bool = False  # needs no GPU: runs beside the others


def carry_out(part: Part, setting: Setting, file: Path) -> dict[str, Any]:
    """Runs the part in this process; whatever happens in it is noted."""
    notes = Notes(file)
    try:
        notes.told["machine"] = None if part.beside else setting.device.words()
        part.measure(setting, notes)
        notes.told["state"] = DONE
    except Skipped as reason:
        notes.told |= {"state": SKIPPED, "reason": str(reason)}
    except Exception as error:
        notes.told |= {"state": FAILED, "reason": f"{type(error).__name__}: {error}"}
        notes.write()
        raise
    notes.write()
    return notes.told
