"""What several ranks do in the tests of this folder, forked by one program: `rank_programs.py CASE FOLDER NUM_RANKS`."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from forked import forked
from hand_samples import GROUP, Values, sampled
from torch import Tensor, nn

from vlm_rl.algorithms.dynamic_sampling import DynamicSampling, GroupSelection, SelectedGroups
from vlm_rl.masking import add_up_over_ranks

ROOT = Path(__file__).parents[2]
SHAPES = ((2, 3), (4,), ())


def on_ranks(case: str, folder: Path, *, num_ranks: int) -> list[Any]:
    """What each rank left, rank by rank."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "ranks")]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, __file__, case, str(folder), str(num_ranks)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{case}-{rank}-of-{num_ranks}.pt", weights_only=False) for rank in range(num_ranks)]


def selected(values: Values, *, batch_size: int, rank: int = 0, num_ranks: int = 1) -> SelectedGroups:
    """This rank's part of a batch, of a step that samples one query for each of the values."""
    settings = DynamicSampling(metric="score", oversample=len(values) / batch_size)
    selection = GroupSelection(settings=settings, batch_size=batch_size, group_size=GROUP)
    return selection.select(*sampled(values, rank=rank, num_ranks=num_ranks))


def selections(folder: Path, rank: int, num_ranks: int) -> list[SelectedGroups]:
    """Of all steps in steps.pt."""
    steps = torch.load(folder / "steps.pt", weights_only=False)
    return [selected(values, batch_size=batch_size, rank=rank, num_ranks=num_ranks) for values, batch_size in steps]


def hand_gradient(place: int, rank: int) -> Tensor | None:
    """Of a parameter on a rank: rank 1 had no rows at all, and rank 0 has nothing for the second parameter."""
    if rank == 1 or (rank == 0 and place == 1):
        return None
    size = torch.Size(SHAPES[place]).numel()
    return (torch.arange(1.0, size + 1) * 10.0**rank).view(SHAPES[place])


def gradients(folder: Path, rank: int, num_ranks: int) -> list[Tensor | None]:
    """After they were added up over ranks."""
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    for place, parameter in enumerate(parameters):
        parameter.grad = hand_gradient(place, rank)
    add_up_over_ranks(parameters)
    return [parameter.grad for parameter in parameters]


CASES: dict[str, Callable[[Path, int, int], object]] = {case.__name__: case for case in (selections, gradients)}


def rank_process(case: str, folder: Path, rank: int, num_ranks: int) -> None:
    """One rank from its beginning to its end."""
    store = f"file://{folder}/{case}-{num_ranks}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=num_ranks)
    torch.save(CASES[case](folder, rank, num_ranks), folder / f"{case}-{rank}-of-{num_ranks}.pt")
    dist.barrier()
    dist.destroy_process_group()


def main(case: str, folder: Path, num_ranks: int) -> int:
    """The number of ranks that failed."""
    return forked(lambda rank: rank_process(case, folder, rank, num_ranks), num_ranks=num_ranks)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
