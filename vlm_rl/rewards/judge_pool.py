"""The judge's worker processes: pebble's pool over `spawn`, without the program's own imports.

`spawn` imports the parent's `__main__` again in every child. That of a training program imports torch: 7.5 s and 875 MB per
worker, which needs nothing of it. So the child is not given the name of `__main__`. `fork` would copy CUDA and threads; with
`forkserver` the workers would be children of a server that the whole program shares.
"""

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.popen_spawn_posix import Popen
from typing import Any, TypeVar

from pebble import ProcessFuture, ProcessPool

from vlm_rl.rewards import judge_worker

T = TypeVar("T")

WALL_CLOCK_FACTOR = 30.0  # times the CPU budget: reached only where a worker sleeps or the machine is stopped
WALL_CLOCK_MARGIN_S = 30.0
START_TIMEOUT_S = 300.0  # for one worker to import SymPy on a busy machine
MAX_TASKS = 5000  # then a worker is replaced, since the caches of SymPy and ANTLR grow
PATIENCE_S = 1.0  # between two checks that the pool is alive
EXTRA_ATTEMPTS = 2  # for a task that was lost with a broken pool

_preparation_lock = threading.Lock()


class WorkerPool:
    """Run functions of judge_worker.py under limits. The processes start with the first task."""

    def __init__(self, *, num_workers: int, cpu_s: float) -> None:
        self._num_workers = num_workers
        self._cpu_s = cpu_s
        self._pool: ProcessPool | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    def map(self, function: Callable[..., T], tasks: Sequence[tuple[Any, ...]]) -> list[T | None]:
        """`function(*task)` for each task, in order; None where a task exceeded a limit or killed its worker.

        A worker that dies between two tasks breaks pebble's pool. The lost tasks then run again, one at a time.
        """
        results = self._attempt(function, dict(enumerate(tasks))) if tasks else {}
        for index, task in enumerate(tasks):
            for _ in range(EXTRA_ATTEMPTS):
                if index not in results:
                    results |= self._attempt(function, {index: task})
        return [results.get(index) for index in range(len(tasks))]

    def close(self) -> None:
        """End the workers; the next task starts new ones."""
        if self._finalizer is not None:
            self._finalizer()
        self._pool, self._finalizer = None, None

    def _attempt(self, function: Callable[..., T], tasks: dict[int, tuple[Any, ...]]) -> dict[int, T | None]:
        """Results by index, without the tasks that a broken pool lost."""
        pool = self._started()
        wall_s = self._cpu_s * WALL_CLOCK_FACTOR + WALL_CLOCK_MARGIN_S
        results: dict[int, T | None] = {}
        try:
            futures = [pool.schedule(function, args=task, timeout=wall_s) for task in tasks.values()]
            for index, future in zip(tasks, futures, strict=True):
                results[index] = _result(pool, future)
        except RuntimeError:  # BrokenProcessPool is one; pebble refuses new tasks of a broken pool by another
            self.close()
        except BaseException:  # Ctrl-C: queued tasks must not delay the next batch
            self.close()
            raise
        return results

    def _started(self) -> ProcessPool:
        """The running pool. Raise RuntimeError if its first worker fails a trivial task: that is no wrong answer."""
        if self._pool is not None:
            return self._pool
        pool = ProcessPool(
            max_workers=self._num_workers,
            max_tasks=MAX_TASKS,
            initializer=judge_worker.prepare_worker,
            initargs=(os.getpid(),),
            context=_LightSpawnContext(),
        )
        self._pool, self._finalizer = pool, weakref.finalize(self, _stop, pool)
        try:
            trial = pool.schedule(judge_worker.compare, args=("2", r"\sqrt{4}"), kwargs={"cpu_s": 60.0})
            verdict = trial.result(START_TIMEOUT_S)
        except Exception as error:
            self.close()
            raise RuntimeError(
                f"The judge's worker process did not start ({error!r}). See whether `python -c 'import math_verify'` "
                "works, and check the limits on processes and memory (`ulimit -a`)."
            ) from error
        assert verdict == "correct", verdict
        return pool


def _result(pool: ProcessPool, future: ProcessFuture[T]) -> T | None:
    """The worker's result, or None after any failure of this task. Raises BrokenProcessPool for a lost task."""
    while not wait([future], timeout=PATIENCE_S).done:
        if not pool.active:  # pebble never resolves the futures that a broken pool had not sent
            raise BrokenProcessPool
    try:
        result: T = future.result()
    except BrokenProcessPool:
        raise
    except Exception:  # ProcessExpired, TimeoutError of the wall clock, or any error of SymPy
        return None
    return result


def _stop(pool: Any) -> None:  # pebble leaves stop() untyped
    pool.stop()
    pool.join()


@contextlib.contextmanager
def _light_preparation() -> Iterator[None]:
    """Remove `__main__` from the preparation data of a new process, and name a start method that it knows (not `loky`).

    multiprocessing has no argument for this. Processes that other threads start meanwhile get the full data.
    """
    this_thread = threading.get_ident()

    def prepared(name: str) -> dict[str, Any]:
        data = full_preparation(name)
        if threading.get_ident() != this_thread:
            return data
        return {key: value for key, value in data.items() if not key.startswith("init_main")} | {"start_method": "spawn"}

    with _preparation_lock:
        full_preparation = spawn.get_preparation_data
        spawn.get_preparation_data = prepared
        try:
            yield
        finally:
            spawn.get_preparation_data = full_preparation


class _LightSpawnProcess(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Popen:  # noqa: N802 - multiprocessing's name
        with _light_preparation():
            return Popen(process_obj)


class _LightSpawnContext(SpawnContext):
    Process = _LightSpawnProcess
