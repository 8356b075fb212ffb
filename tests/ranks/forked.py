"""Ranks as forks of a process that has imported everything (`Forking`): small cases, and commands as torchrun starts them."""

import os
import pickle
import runpy
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
from forking import Finished, Forking

Case = Callable[[Path, int], object]  # (folder, rank) -> what the rank found


def forked(rank_process: Callable[[int], None], *, num_ranks: int) -> int:
    """Runs `rank_process(rank)` in a process for each rank; returns how many failed."""
    pids = []
    for rank in range(num_ranks):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                rank_process(rank)
                code = 0
            except SystemExit as end:
                code = int(bool(end.code))
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(code)
        pids.append(pid)
    return sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)


def on_ranks(forking: Forking, script: str, case: str, folder: Path, *, num_ranks: int = 2) -> list[Any]:
    """What each rank found in a case of a script, which ends in `run_case`."""
    finished = forking.run(script, [case, str(num_ranks)], cwd=folder)
    assert finished.code == 0, finished.err[-3000:]
    return [pickle.loads((folder / f"{case}-{rank}-of-{num_ranks}").read_bytes()) for rank in range(num_ranks)]


def run_case(*cases: Case, limit: timedelta = timedelta(seconds=60)) -> None:
    """The script's side; `limit`: of a collective."""
    name, num_ranks, folder = sys.argv[1], int(sys.argv[2]), Path.cwd()
    case = next(case for case in cases if case.__name__ == name)

    def rank_process(rank: int) -> None:
        store = f"file://{folder}/{name}-{num_ranks}"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=num_ranks, timeout=limit)
        (folder / f"{name}-{rank}-of-{num_ranks}").write_bytes(pickle.dumps(case(folder, rank)))
        dist.barrier()
        dist.destroy_process_group()

    sys.exit(forked(rank_process, num_ranks=num_ranks))


def on_two_ranks(forking: Forking, script: str, words: Sequence[str], *, cwd: Path) -> Finished:
    """A command on two ranks, as `torchrun --nproc-per-node=2 SCRIPT WORDS` starts them."""
    return forking.run(__file__, [script, *words], cwd=cwd)


def torchrun(script: str, *words: str) -> None:
    """Two ranks of a script in this folder, on a port that is free; with `trainer.num_nodes=2` as on two machines."""
    num_nodes = 2 if "trainer.num_nodes=2" in words else 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def rank_process(rank: int) -> None:
        node, local = (rank, 0) if num_nodes == 2 else (0, rank)
        places = {"RANK": rank, "LOCAL_RANK": local, "GROUP_RANK": node, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2 // num_nodes}
        os.environ |= {name: str(value) for name, value in places.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "none"}
        sys.argv = [script, *words]
        runpy.run_path(script, run_name="__main__")

    sys.exit(forked(rank_process, num_ranks=2))


if __name__ == "__main__":
    torchrun(*sys.argv[1:])
