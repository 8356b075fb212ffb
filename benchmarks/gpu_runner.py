"""Runs the parts of benchmarks/gpu.py one after another, each in a process of its own that is stopped when its time is over."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_notes import FAILED, LATE, Part

Command = Callable[[Part, Path], list[str]]  # of a part that writes its notes to the file
Outcomes = dict[str, dict[str, Any]]


@dataclass(kw_only=True)
class Started:
    """The process of a part."""

    part: Part
    process: "subprocess.Popen[bytes]"
    file: Path
    begun: float  # time.time(), which another process knows too
    is_stopped: bool = False

    def ended(self, *, by: float) -> dict[str, Any]:
        """Waits until then at most; what the part found, how it ended and what it did not reach."""
        is_late = False
        try:
            self.process.wait(timeout=max(0.0, by - time.monotonic()))
        except subprocess.TimeoutExpired:
            is_late = True
        self.stop()
        told: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else {}
        is_noted = told.get("state") is not None  # then its numbers are whole, however long its process took to end
        seconds = (told["ended_at"] if is_noted else time.time()) - self.begun
        stages = told.get("stages", {})
        state, reason = told.get("state"), told.get("reason", "")
        if is_late and not is_noted:
            state, reason = LATE, f"stopped after {seconds:.0f} s"
        elif state is None:
            state, reason = FAILED, f"its process ended with exit code {self.process.returncode}; see gpu.log"
        missing = [stage for stage in self.part.stages if stage not in stages]
        return {
            "state": state,
            "reason": reason,
            "seconds": seconds,
            "not_reached": missing,
            "machine": told.get("machine"),
            "numbers": stages,
        }

    def stop(self) -> None:
        """Ends the process and all that it started, once: later its number may be another's."""
        if self.is_stopped:
            return
        self.is_stopped = True
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Runner:
    """Deadlines add up: what a part leaves over the next ones may use, and none eats of the time of another."""

    def __init__(self, *, command: Command, work: Path, log: Path, environment: Mapping[str, str]) -> None:
        self._command, self._work, self._log, self._environment = command, work, log, environment

    def run(self, parts: list[Part], *, told: Callable[[Outcomes], None]) -> Outcomes:
        """All parts; `told` is called after each with what is known so far."""
        outcomes: Outcomes = {}
        begun = time.monotonic()
        with self._running([part for part in parts if part.beside]) as beside:
            deadline = begun
            for part in (part for part in parts if not part.beside):
                deadline += part.budget
                with self._running([part]) as started:
                    self._add(outcomes, started[0], by=deadline)
                told(outcomes)
            for started_beside in beside:
                self._add(outcomes, started_beside, by=begun + started_beside.part.budget)
        told(outcomes)
        return outcomes

    @staticmethod
    def _add(outcomes: Outcomes, started: Started, *, by: float) -> None:
        found = started.ended(by=by)
        outcomes[started.part.name] = found
        missing = f"; not reached: {', '.join(found['not_reached'])}" if found["not_reached"] else ""
        reason = f": {found['reason']}" if found["reason"] else ""
        print(f"{started.part.name:18} {found['state']} after {found['seconds']:.0f} s{reason}{missing}", flush=True)

    @contextmanager
    def _running(self, parts: list[Part]) -> Iterator[list[Started]]:
        """Starts the parts; however this ends, none of them lives on."""
        started: list[Started] = []
        try:
            for part in parts:
                started.append(self._start(part))
            yield started
        finally:
            for one in started:
                one.stop()

    def _start(self, part: Part) -> Started:
        file = self._work / f"{part.name}.json"
        alone = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"} if part.beside else {}
        with self._log.open("ab") as log:
            log.write(f"\n==== {part.name}\n".encode())
            log.flush()
            process = subprocess.Popen(
                self._command(part, file),
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**self._environment, **alone},
                start_new_session=True,  # a group of its own, which can be stopped as a whole
            )
        return Started(part=part, process=process, file=file, begun=time.time())
