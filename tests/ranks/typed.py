"""Commands on two ranks, started as a person types them: real processes, nothing forked, nothing called."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE_S = 300.0  # for one command, on a machine that does much else

Words = tuple[str, ...]
TRAIN: Words = (sys.executable, str(ROOT / "train.py"))
EVALUATE: Words = (sys.executable, str(ROOT / "evaluate.py"))
AS_MODULE: Words = (sys.executable, "-m", "vlm_rl.commands.train")
INSTALLED: Words = (str(BIN / "vlm-rl-train"),)
TORCHRUN: Words = (str(BIN / "torchrun"), "--standalone", "--nproc-per-node=2", str(ROOT / "train.py"))


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    seconds: float  # from the signal, or from the start, to the end of its last process


def typed(words: Sequence[str], *, cwd: Path) -> Ended:
    """Runs a command to its end."""
    return Running(words, cwd=cwd).ended()


def interrupted(words: Sequence[str], *, cwd: Path, number: signal.Signals, rank: int, when: Callable[[], bool]) -> Ended:
    """Runs a command, and sends a signal to one rank as soon as something is seen."""
    running = Running(words, cwd=cwd)
    running.wait_until(when)
    running.process_of(rank).send_signal(number)
    return running.ended()


class Running:
    """A command and all processes below it."""

    def __init__(self, words: Sequence[str], *, cwd: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLM_RL_STUDY", "VLM_RL_COMMAND"))}
        environment = kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
        self._log = (cwd / "log.txt").open("w+")
        self._command = subprocess.Popen(words, cwd=cwd, env=environment, stdout=self._log, stderr=subprocess.STDOUT)
        self._since = time.monotonic()
        self._below: list[psutil.Process] = []

    def wait_until(self, seen: Callable[[], bool]) -> None:
        """Looks until something is there; an end before that is a failure."""
        deadline = time.monotonic() + PATIENCE_S
        while not seen():
            assert self._command.poll() is None and time.monotonic() < deadline, self._text()
            time.sleep(0.02)

    def process_of(self, rank: int) -> psutil.Process:
        """The process of a rank, whoever started it."""
        top = psutil.Process(self._command.pid)
        self._below = top.children(recursive=True)
        ranks = [p for p in (top, *self._below) if is_rank(p)]
        places = [int(p.environ().get("LOCAL_RANK", "0")) for p in ranks]
        assert sorted(places) == [0, 1], places
        self._since = time.monotonic()
        return ranks[places.index(rank)]

    def ended(self) -> Ended:
        """Waits for the command and for every process that it started."""
        try:
            code = self._command.wait(PATIENCE_S)
            _, alive = psutil.wait_procs(self._below, timeout=60)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._text()) from None
        finally:
            self._command.kill()
        assert not alive, (alive, self._text())
        return Ended(code=code, out=self._text(), seconds=time.monotonic() - self._since)

    def _text(self) -> str:
        self._log.flush()
        self._log.seek(0)
        return self._log.read()


def is_rank(process: psutil.Process) -> bool:
    """Whether a process trains or evaluates, and neither starts others only nor judges."""
    words = process.cmdline()
    name = " ".join(words)
    return ("train" in name or "evaluate" in name) and "torchrun" not in name and "multiprocessing" not in name
