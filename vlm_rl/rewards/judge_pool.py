"""The judge's worker processes: pebble's pool over `spawn`, without the program's own imports.

`spawn` imports the parent's `__main__` again in every child, and a training program's `__main__` imports torch (7.5 s
and 875 MB for each worker). Workers need nothing of it, so they are not told of it. `fork` would copy CUDA and
threads; a `forkserver` would make the workers children of a server that the whole program shares.
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
MAX_TASKS = 5000  # then a worker is replaced, so that caches of SymPy and ANTLR cannot grow into the memory limit
PATIENCE_S = 1.0  # between two looks at whether the pool still lives
EXTRA_ATTEMPTS = 2  # for a task that was lost with a broken pool

_preparation_lock = threading.Lock()


class WorkerPool:
    """Runs functions of judge_worker.py under limits. Starts with the first task, not before."""

    def __init__(self, *, num_workers: int, cpu_s: float) -> None:
        self._num_workers = num_workers
        self._cpu_s = cpu_s
        self._pool: ProcessPool | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    @property
    def is_started(self) -> bool:
        """Whether worker processes exist."""
        return self._pool is not None

    def map(self, function: Callable[..., T], tasks: Sequence[tuple[Any, ...]]) -> list[T | None]:
        """`function(*task)` for each task, in order; None where one went over a limit or killed its worker.

        A worker that dies between two tasks breaks pebble's pool. What was lost then runs again, one by one.
        """
        results = self._attempt(function, dict(enumerate(tasks))) if tasks else {}
        for index, task in enumerate(tasks):
            for _ in range(EXTRA_ATTEMPTS):
                if index not in results:
                    results |= self._attempt(function, {index: task})
        return [results.get(index) for index in range(len(tasks))]

    def close(self) -> None:
        """Ends the workers; the next task starts new ones."""
        if self._finalizer is not None:
            self._finalizer()
        self._pool, self._finalizer = None, None

    def _attempt(self, function: Callable[..., T], tasks: dict[int, tuple[Any, ...]]) -> dict[int, T | None]:
        """What this round decided; tasks that a broken pool lost are not in it."""
        pool = self._started()
        wall_s = self._cpu_s * WALL_CLOCK_FACTOR + WALL_CLOCK_MARGIN_S
        results: dict[int, T | None] = {}
        try:
            futures = [pool.schedule(function, args=task, timeout=wall_s) for task in tasks.values()]
            for index, future in zip(tasks, futures, strict=True):
                results[index] = _result(pool, future)
        except RuntimeError:  # BrokenProcessPool is one; pebble refuses new tasks of a broken pool by another
            self.close()
        except BaseException:  # Ctrl-C: what is queued must not delay the next batch
            self.close()
            raise
        return results

    def _started(self) -> ProcessPool:
        """The running pool. A pool whose first worker cannot do a trivial task is an error, not a wrong answer."""
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
    """The worker's result, or None whatever went wrong with this one task. Raises BrokenProcessPool for a lost one."""
    while not wait([future], timeout=PATIENCE_S).done:
        if not pool.active:  # pebble never ends the futures that a broken pool had not yet sent out
            raise BrokenProcessPool
    try:
        result: T = future.result()
    except BrokenProcessPool:
        raise
    except Exception:  # ProcessExpired, the wall clock's TimeoutError, or whatever SymPy raised over there
        return None
    return result


def _stop(pool: Any) -> None:  # pebble leaves stop() untyped
    pool.stop()
    pool.join()


@contextlib.contextmanager
def _light_preparation() -> Iterator[None]:
    """What a new process is told leaves out `__main__`, and names a start method that it knows (not `loky`).

    There is no argument for this. Other threads that start processes meanwhile are told all, as ever.
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
