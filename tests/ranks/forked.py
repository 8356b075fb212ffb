"""Ranks as forks of one small program: they share what it has imported."""

import os
import traceback
from collections.abc import Callable


def forked(rank_process: Callable[[int], None], *, num_ranks: int) -> int:
    """Runs `rank_process(rank)` in a process for each rank; returns how many failed."""
    pids = []
    for rank in range(num_ranks):
        pid = os.fork()
        if pid == 0:
            try:
                rank_process(rank)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    return sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
