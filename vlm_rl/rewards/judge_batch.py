"""The tasks of one call: which is next, which is tried again, and where the budget ends. Knows no processes."""

import enum
from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

ATTEMPTS = 3  # for a task whose process is ended from outside


class Failure(enum.Enum):
    """Why a task has no value."""

    LIMIT = "it exceeded a limit or crashed its process, and would do so again"
    LOST = "its process was ended from outside at each attempt"
    OVER_BUDGET = "the tasks before it used up the budget"


class Batch(Generic[T]):
    """The results of tasks by their place. The end of the budget follows from their order, not from who finishes first."""

    def __init__(self, num_tasks: int, *, known: Mapping[int, T | Failure], max_limits: float) -> None:
        """`known`: results that need no run, by place; all tasks after `max_limits` that exceeded a limit are OVER_BUDGET."""
        self._num_tasks, self._max_limits = num_tasks, max_limits
        self._results = dict(known)
        self._next = 0
        self._num_limits = 0  # at places before the next
        self._attempts: dict[int, int] = {}  # lost ones
        self._again: list[int] = []
        self._num_running = 0

    @property
    def num_open(self) -> int:
        """Tasks without a result; at most so many may still have to run."""
        return self._num_tasks - len(self._results) if self._num_running or self.has_next() else 0

    def has_next(self) -> bool:
        """Whether a task can be started now."""
        while self._next in self._results and self._is_in_budget():
            self._num_limits += self._results[self._next] is Failure.LIMIT
            self._next += 1
        return bool(self._again) or (self._next < self._num_tasks and self._is_in_budget())

    def start(self) -> int:
        """The place of the next task, where there is one."""
        assert self.has_next()
        self._num_running += 1
        if self._again:
            return self._again.pop(0)
        self._next += 1
        return self._next - 1

    def finish(self, place: int, result: T | Failure) -> None:
        """A task has a value or exceeded a limit."""
        self._num_running -= 1
        self._results[place] = result
        self._num_limits += result is Failure.LIMIT

    def lose(self, place: int) -> None:
        """A task's process was ended from outside: another attempt, or none if that was the last one."""
        self._attempts[place] = self._attempts.get(place, 0) + 1
        if self._attempts[place] == ATTEMPTS:
            self.finish(place, Failure.LOST)
        else:
            self.put_back(place)

    def put_back(self, place: int) -> None:
        """A task did not start after all."""
        self._num_running -= 1
        self._again.append(place)

    def results(self) -> list[T | Failure]:
        """One for each task, in order, when no task is open."""
        assert not self.num_open
        results: list[T | Failure] = []
        num_limits = 0
        for place in range(self._num_tasks):
            results.append(self._results[place] if num_limits < self._max_limits else Failure.OVER_BUDGET)
            num_limits += results[-1] is Failure.LIMIT
        return results

    def _is_in_budget(self) -> bool:
        return self._num_limits < self._max_limits
