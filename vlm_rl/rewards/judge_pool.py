"""The judge's pool of worker processes (judge_worker.py): it starts them, sends each one task at a time and replaces the dead.

No library does this here: they import the parent's `__main__` in each child (that of a training program imports torch: 7.5 s and
875 MB), or do not tell which task a dead worker had, so that a kill from outside looks like a limit of the answer.
"""

import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import wait
from typing import Any, TypeVar

from vlm_rl.rewards.judge_batch import Batch, Failure
from vlm_rl.rewards.judge_process import START_TIMEOUT_S, WorkerProcess
from vlm_rl.rewards.judge_worker import Ended

T = TypeVar("T")

WALL_CLOCK_FACTOR = 30.0  # times the CPU limit: reached only where a worker is stopped or the machine has no time for it
WALL_CLOCK_MARGIN_S = 30.0
START_ATTEMPTS = 3  # that end by themselves
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0  # after a failed start; doubled with each that ended by itself
PATIENCE_S = 1.0  # between two looks at workers that say nothing
GRACE_S = 1.0  # for a worker that has closed its connection to end


class WorkerPool:
    """Run functions of judge_worker.py under limits. The processes start with the first task."""

    def __init__(self, *, num_workers: int, cpu_s: float) -> None:
        self._num_workers, self._cpu_s = num_workers, cpu_s
        self._become_owner()

    def map(
        self,
        function: Callable[..., T],
        tasks: Sequence[tuple[Any, ...]],
        *,
        known: Mapping[int, T | Failure] | None = None,
        max_limits: float = math.inf,
    ) -> list[T | Failure]:
        """`function(*task)` for each task in order, or why there is no value; `known` and `max_limits` as in Batch.

        Raise RuntimeError if no worker can be started, ValueError if none would have the memory that an answer may use.
        """
        batch: Batch[T] = Batch(len(tasks), known=known or {}, max_limits=max_limits)
        if self._owner != os.getpid():
            self._become_owner()
        with self._lock:
            try:
                while batch.num_open:
                    self._start_workers(min(self._num_workers, batch.num_open))
                    self._check_starts()
                    self._send(batch, function, tasks)
                    self._collect(batch)
            except BaseException:  # Ctrl-C: what is half done must not answer the next call
                self.close()
                raise
        return batch.results()

    def close(self) -> None:
        """End the workers; the next task starts new ones."""
        _end(self._workers, self._owner)
        self._starts.succeeded()

    @property
    def num_alive(self) -> int:
        """Workers that were started and not ended."""
        return len(self._workers)

    def _become_owner(self) -> None:
        """Begin without workers. A process that was forked from another must not talk to that one's."""
        self._workers: list[WorkerProcess] = []
        self._starts, self._lock, self._owner = Starts(), threading.Lock(), os.getpid()
        weakref.finalize(self, _end, self._workers, self._owner)

    def _start_workers(self, wanted: int) -> None:
        for worker in [worker for worker in self._workers if worker.is_idle and worker.has_ended]:
            self._workers.remove(worker)  # ended while idle: no task is lost
        while len(self._workers) < wanted and self._starts.are_due:
            try:
                self._workers.append(WorkerProcess(task_s=self._cpu_s * WALL_CLOCK_FACTOR + WALL_CLOCK_MARGIN_S))
            except OSError as error:  # no more processes or memory
                self._starts.failed(str(error), is_own=True, began=time.monotonic())

    def _check_starts(self) -> None:
        if self._starts.are_hopeless and not any(worker.is_ready for worker in self._workers):
            raise RuntimeError(
                f"The judge's worker process did not start ({self._starts.reason}). See whether `python -c 'import math_verify'` "
                "works, check the limits on processes and memory (`ulimit -a`, the container's), and whether something kills "
                "processes (`dmesg`). Nothing was judged by guess: the same command goes on from the last checkpoint."
            )

    def _send(self, batch: Batch[T], function: Callable[..., T], tasks: Sequence[tuple[Any, ...]]) -> None:
        for worker in self._workers:
            if worker.is_idle and batch.has_next():
                place = batch.start()
                if not worker.send(place, (function, tasks[place], self._cpu_s)):
                    batch.put_back(place)

    def _collect(self, batch: Batch[T]) -> None:
        """Wait until a worker says something or ends."""
        patience_s = PATIENCE_S if self._starts.are_due else FIRST_PAUSE_S
        talking = wait([worker.connection for worker in self._workers], timeout=patience_s)
        for worker in list(self._workers):
            if worker.connection in talking or worker.has_ended or worker.is_overdue:
                try:
                    self._take(worker.receive(), worker, batch)
                except EOFError:
                    self._workers.remove(worker)
                    self._mourn(worker, batch)

    def _take(self, reply: Any, worker: WorkerProcess, batch: Batch[T]) -> None:
        if not worker.is_ready:
            worker.is_ready = True
            self._starts.succeeded()
            return
        assert worker.place is not None
        if not worker.has_begun:
            worker.has_begun = True
            return
        if isinstance(reply, Ended) and not reply.is_limit:
            batch.lose(worker.place)
        else:
            batch.finish(worker.place, Failure.LIMIT if isinstance(reply, Ended) else reply)
        worker.place = None

    def _mourn(self, worker: WorkerProcess, batch: Batch[T]) -> None:
        """A worker computes nothing itself, so its end says nothing of its task."""
        ended = worker.end(grace_s=0.0 if worker.is_overdue else GRACE_S)
        if not worker.is_ready:
            self._starts.failed(str(ended), is_own=ended.is_limit, began=worker.began)
        elif worker.place is not None and (worker.has_begun or worker.is_overdue):
            batch.lose(worker.place)
        elif worker.place is not None:
            batch.put_back(worker.place)


class Starts:
    """The workers that were started in vain since one was ready: when to start the next, and when to give up."""

    def __init__(self) -> None:
        self.succeeded()

    @property
    def are_due(self) -> bool:
        """Whether the pause after the last failure is over."""
        return time.monotonic() >= self._due

    def succeeded(self) -> None:
        """A worker is ready."""
        self._num_failed = self._num_own = 0
        self._first, self._last, self._due = math.inf, -math.inf, -math.inf
        self.reason = ""

    def failed(self, reason: str, *, is_own: bool, began: float) -> None:
        """A start ended by itself (`is_own`) or from outside; one beside another that failed is the same attempt."""
        if began < self._last:
            return
        self._first, self._last = min(self._first, began), time.monotonic()
        self._due = self._last + min(FIRST_PAUSE_S * 2**self._num_own, LONGEST_PAUSE_S)
        self._num_failed += 1
        self._num_own += is_own
        self.reason = f"{self._num_failed} attempts, the last one: {reason}"

    @property
    def are_hopeless(self) -> bool:
        """Whether three ended by themselves, or all did, from outside, for 300 s."""
        return self._num_own >= START_ATTEMPTS or self._last - self._first > START_TIMEOUT_S


def _end(workers: list[WorkerProcess], owner: int) -> None:
    """Only the process that started workers ends them."""
    if os.getpid() == owner:
        while workers:
            workers.pop().end()
