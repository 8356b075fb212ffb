"""A few ranks in one small program, for what they tell each other. Run as a script: the folder, the name of a case, how many."""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
from filelock import FileLock
from forked import forked

from vlm_rl import ranks

LIMIT_S = 2.0  # of a collective; rank 0 waits longer than that for a lock
HELD_S = 5.0


def same_answers(folder: Path, rank: int) -> object:
    """The first rank decides whether a file is there: each rank sees a disk of its own."""
    file = folder / f"only-on-rank-{rank}"
    if rank == 0:
        file.touch()
    mine = (folder / "only-on-rank-0").exists() if rank == 0 else (folder / "only-on-rank-1").exists()
    return [ranks.from_first(mine), ranks.any_of(rank == 1), ranks.any_of(False), ranks.gathered(rank)]


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


CASES: dict[str, Callable[[Path, int], object]] = {case.__name__: case for case in (same_answers, turns, a_long_wait)}


def rank_process(folder: Path, name: str, rank: int, num_ranks: int) -> None:
    """One rank from its beginning to its end."""
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=num_ranks, timeout=timedelta(seconds=LIMIT_S))
    found = CASES[name](folder, rank)
    (folder / f"{rank}.json").write_text(json.dumps(found))
    ranks.from_first(None)
    dist.destroy_process_group()


def main(folder: Path, name: str, num_ranks: int) -> int:
    """The number of ranks that failed."""
    return forked(lambda rank: rank_process(folder, name, rank, num_ranks), num_ranks=num_ranks)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
