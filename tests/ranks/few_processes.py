"""A few ranks in one small program, for what they tell each other."""

import os
import time
from datetime import timedelta
from pathlib import Path

from filelock import FileLock
from forked import run_case

from vlm_rl import ranks

LIMIT_S = 2.0  # of a collective; rank 0 waits longer than that for a lock
HELD_S = 4.0


def same_answers(folder: Path, rank: int) -> object:
    """The first rank decides whether a file is there: each rank sees a disk of its own."""
    return [ranks.from_first(rank == 0), ranks.any_of(rank == 1), ranks.any_of(False), ranks.gathered(rank)]


def turns(folder: Path, rank: int) -> object:
    """When each rank was inside."""
    with ranks.in_turn(place=rank, num_places=ranks.num_ranks()):
        begun = time.monotonic()
        time.sleep(0.1)
        return [begun, time.monotonic()]


def a_long_wait(folder: Path, rank: int) -> object:
    """Another process evaluates the shared vanilla model for longer than any collective may take."""
    begun = time.monotonic()
    ranks.SECONDS_OF_A_TRY = 0.3
    if rank == 0 and os.fork() == 0:
        with FileLock(folder / "lock"):
            (folder / "held").touch()
            time.sleep(HELD_S)
        os._exit(0)
    while not (folder / "held").exists():
        time.sleep(0.05)
    with ranks.locked(folder / "lock"):
        return time.monotonic() - begun


if __name__ == "__main__":
    run_case(same_answers, turns, a_long_wait, limit=timedelta(seconds=LIMIT_S))
