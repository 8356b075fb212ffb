r"""A worker process of the judge: math-verify under limits of the kernel. Imports no torch.

A worker judges nothing itself. It forks a judging process, which costs 3 ms where a new worker costs 0.5 s, and reports how that
one ended. A judging process that has judged other answers knows more (SymPy and ANTLR keep what they have seen), so it is used
for quick answers only. Whether an answer exceeds a limit is always decided in a fresh one, whatever was judged before.

math-verify's own timeouts (signal.alarm) are off. The worker reads the CPU clock of its fork, which is exact, and kills it, which also
stops code that never returns to Python. The kernel's own limits (ITIMER_PROF, RLIMIT_CPU) count ticks of the clock: on a busy machine
they were seen to end up to 18% too early. RLIMIT_CPU stands far behind, for a fork whose worker was killed.
"""

import contextlib
import errno
import gc
import logging
import math
import mmap
import os
import resource
import signal
import time
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from vlm_rl.rewards import algebra
from vlm_rl.rewards.comparison import verdict

MEMORY_LIMIT_BYTES = 1 << 30  # of address space; a worker that has imported SymPy uses about a third of it
QUICK_SHARE = 0.25  # of the CPU limit: an answer that takes more is decided in a fresh process; a fresh one is 0.2 s slower
MAX_TASKS = 5000  # then a judging process is replaced, since the caches of SymPy and ANTLR grow
PARENT_POLL_S = 0.5
CPU_POLL_S = 0.005  # when the CPU limit is near
LIMIT_SIGNALS = (  # what a text does to the process that judges it: the CPU limit, a crash; any other signal comes from outside
    *(signal.SIGXCPU, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE),
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A process that ended without an answer."""

    exit_code: int  # negative: the number of the signal

    def __str__(self) -> str:
        return f"exit code {self.exit_code}" if self.exit_code >= 0 else f"ended by {signal.Signals(-self.exit_code).name}"

    @property
    def is_limit(self) -> bool:
        """Whether the process ended by what it did; else it was ended from outside, and would do better at another time."""
        return self.exit_code >= 0 or -self.exit_code in LIMIT_SIGNALS


READY, BEGUN = "ready", "begun"  # what a worker says besides its answers
CPU_LIMIT = Ended(exit_code=-signal.SIGXCPU)


def compare(gold: str, answer: str) -> str:
    """`correct`, `wrong` or `unparsable` by the rules of comparison.py, with algebra.py for expressions."""
    try:
        return verdict(gold, answer, equal=algebra.equal)
    except (
        algebra.Unreadable,
        ArithmeticError,
        ValueError,
        TypeError,
        AttributeError,
        NotImplementedError,
        RecursionError,
    ):
        return "unparsable"  # \cot 0, (-1)!


def is_parsable(text: str) -> bool:
    """Whether algebra.py can parse `text`."""
    try:
        algebra.parsed(text)
    except algebra.Unreadable:
        return False
    return True


def serve(fd: int, parent_pid: int) -> None:
    """Answer the tasks (function, arguments, CPU seconds) that come through `fd`, until it is closed or the parent is gone.

    Say READY first, and BEGUN before each answer: a worker that is killed before that costs the task no attempt.
    """
    pool = Connection(fd)
    _prepare()
    worker = Worker(pool, parent_pid=parent_pid)
    with contextlib.suppress(ParentGone, EOFError, ConnectionError):
        pool.send(READY)
        while True:
            if pool.poll(PARENT_POLL_S):
                call = pool.recv()
                pool.send(BEGUN)
                pool.send(worker.reply(*call))
            worker.check_parent()
    worker.end()


def _prepare() -> None:
    """Import math-verify and fill its caches, and undo what the parent may have set."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a step that is finished after Ctrl-C still needs the judge
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(OSError):  # where memory is short, the kernel ends a judging process and not the training
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timeouts are off
    assert compare(r"\frac{\sqrt{16}}{2}", "2") == "correct"
    gc.collect()
    gc.freeze()  # the memory stays shared with the forks


class ParentGone(Exception):
    """The process that the answers are for has ended."""


class Worker:
    """Hands tasks to a judging process and replaces one that has ended."""

    def __init__(self, pool: Connection, *, parent_pid: int) -> None:
        self._pool, self._parent_pid = pool, parent_pid
        self._judging: JudgingProcess | None = None

    def reply(self, function: Any, task: tuple[Any, ...], cpu_s: float) -> Any:
        """`function(*task)`, or how a fresh process that was to compute it ended."""
        if self._judging is not None:
            reply = self._attempt(self._judging, function, task, cpu_s * QUICK_SHARE)
            if not isinstance(reply, Ended):
                return reply
        self._judging = JudgingProcess(self._pool)
        reply = self._attempt(self._judging, function, task, cpu_s)
        if reply == Ended(exit_code=errno.ENOMEM) and not _machine_has_memory():
            return Ended(exit_code=-signal.SIGKILL)  # not the limit: as if the kernel had ended it
        return reply

    def check_parent(self) -> None:
        """Raise ParentGone. PR_SET_PDEATHSIG would follow the thread of the parent that started this worker."""
        if os.getppid() != self._parent_pid:
            raise ParentGone

    def end(self) -> None:
        """End the judging process."""
        if self._judging is not None:
            self._judging.end()

    def _attempt(self, judging: "JudgingProcess", function: Any, task: tuple[Any, ...], cpu_s: float) -> Any:
        reply: Any
        try:
            reply = self._answer(judging, function, task, cpu_s)
        except (EOFError, OSError):
            reply = judging.end()
        judging.num_tasks += 1
        if isinstance(reply, Ended) or judging.num_tasks >= MAX_TASKS:
            judging.end()
            self._judging = None
        return reply

    def _answer(self, judging: "JudgingProcess", function: Any, task: tuple[Any, ...], cpu_s: float) -> Any:
        """The value, or the limit of CPU time. Raise EOFError or OSError where the process ends."""
        end_s = judging.cpu_s() + cpu_s
        judging.connection.send((function, task, cpu_s))
        while not judging.connection.poll(min(max(end_s - judging.cpu_s(), CPU_POLL_S), PARENT_POLL_S)):
            self.check_parent()
            if judging.cpu_s() > end_s:
                return CPU_LIMIT
        value, used_s = judging.connection.recv()
        return value if used_s <= cpu_s else CPU_LIMIT  # exact, whenever this process got its turn


class JudgingProcess:
    """A fork of the worker that computes what it is sent."""

    def __init__(self, pool: Connection) -> None:
        self.num_tasks = 0
        self._ended: Ended | None = None
        self.connection, theirs = Pipe()
        self._pid = os.fork()
        if not self._pid:
            self.connection.close()
            pool.close()  # else the pool would not notice the end of the worker
            _judge(theirs)
        theirs.close()

    def cpu_s(self) -> float:
        """CPU seconds so far, to the microsecond."""
        return time.clock_gettime(~self._pid << 3 | 2)  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of Linux

    def end(self) -> Ended:
        """How it has ended by itself, or does now."""
        if self._ended is None:
            os.kill(self._pid, signal.SIGKILL)  # without effect on a process that has ended
            _, status = os.waitpid(self._pid, 0)
            self.connection.close()
            self._ended = Ended(exit_code=os.waitstatus_to_exitcode(status))
        return self._ended


def _judge(connection: Connection) -> NoReturn:
    """The life of a judging process: it ends with the worker, at a limit, or by an error that nobody foresaw."""
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, hard))
        while True:
            function, task, cpu_s = connection.recv()
            _limit_cpu(2.0 * cpu_s)
            start = time.process_time()
            value = function(*task)
            connection.send((value, time.process_time() - start))
    except MemoryError:
        os._exit(errno.ENOMEM)
    except BaseException:
        os._exit(1)


def _limit_cpu(cpu_s: float) -> None:
    """The kernel ends this process about `cpu_s` CPU seconds from now, rounded up to a whole second."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + cpu_s)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _machine_has_memory() -> bool:
    """Whether the machine would give as much memory as the limit allows."""
    try:
        mmap.mmap(-1, MEMORY_LIMIT_BYTES).close()
    except (OSError, ValueError):
        return False
    return True
