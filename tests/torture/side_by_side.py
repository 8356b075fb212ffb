"""Several commands at once: one process that forks for each."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

from short_runs import Forking

Job = TypeVar("Job")
Result = TypeVar("Result")


@contextmanager
def forking_processes(number: int) -> Iterator[list[Forking]]:
    """Started, and closed at the end."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    servers = [Forking() for _ in range(number)]
    try:
        yield servers
    finally:
        for server in servers:
            server.close()


def side_by_side(do: Callable[[Forking, Job], Result], jobs: Sequence[Job], *, servers: Sequence[Forking]) -> Iterator[Result]:
    """The results in the order of the jobs, as they come; as many at once as there are servers."""
    free: SimpleQueue[Forking] = SimpleQueue()
    for server in servers:
        free.put(server)

    def with_a_free_one(job: Job) -> Result:
        forking = free.get()
        try:
            return do(forking, job)
        finally:
            free.put(forking)

    with ThreadPoolExecutor(len(servers)) as pool:
        yield from pool.map(with_a_free_one, jobs)
