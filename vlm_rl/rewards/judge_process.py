"""A worker process (judge_worker.py) as the pool sees it: what it was given, what it says, how it ended."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from typing import Any

from vlm_rl.rewards.judge_worker import MEMORY_LIMIT_BYTES, Ended

START_TIMEOUT_S = 300.0  # for SymPy to be imported on a busy machine, and for starts that are ended from outside
PROGRAM = """
import resource, sys
fd, parent, *sys.path = sys.argv[1:]
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))  # what the parent may use is no limit for its workers
from vlm_rl.rewards.judge_worker import serve
serve(int(fd), int(parent))
"""


class WorkerProcess:
    """A worker process and the task that it has."""

    def __init__(self, *, task_s: float) -> None:
        """`task_s`: seconds of the clock for one task."""
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY and hard < MEMORY_LIMIT_BYTES:
            raise ValueError(
                f"An answer may use {MEMORY_LIMIT_BYTES >> 20} MiB before the judge gives it up, but this process and its children "
                f"may use only {hard >> 20} MiB of address space (`ulimit -Hv`): what is right would depend on that. Raise the "
                "limit by `ulimit -v unlimited` in the shell or the job script, or start from one without it."
            )
        self._task_s = task_s
        self.began = time.monotonic()
        self._deadline = self.began + START_TIMEOUT_S
        self.is_ready = False
        self.place: int | None = None  # of its task
        self.has_begun = False
        self.connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(theirs.fileno()), str(os.getpid()), *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONHASHSEED": "0"},  # the order of SymPy's sets
                process_group=0,  # Ctrl-C does not reach it, and one signal ends it with its fork
            )

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a task."""
        return self.is_ready and self.place is None

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    @property
    def is_overdue(self) -> bool:
        """Whether it takes too long for its task, or to start."""
        return not self.is_idle and time.monotonic() > self._deadline

    def send(self, place: int, call: tuple[Any, ...]) -> bool:
        """Give it a task; False where it has ended."""
        try:
            self.connection.send(call)
        except OSError:
            return False
        self.place, self.has_begun = place, False
        self._deadline = time.monotonic() + self._task_s
        return True

    def receive(self) -> Any:
        """What it says. Raise EOFError where it ended, or is overdue."""
        try:
            if self.connection.poll():
                return self.connection.recv()
        except OSError as error:
            raise EOFError from error
        raise EOFError

    def end(self, *, grace_s: float = 0.0) -> Ended:
        """How the process has ended within `grace_s`, or does now."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        if not self.has_ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self.connection.close()
        return Ended(exit_code=self._process.wait())
