"""What several ranks do in the tests of this folder."""

from pathlib import Path

import torch
from forked import run_case
from hand_samples import GROUP, Values, sampled
from torch import Tensor, nn

from vlm_rl.algorithms.dynamic_sampling import DynamicSampling, GroupSelection, SelectedGroups
from vlm_rl.masking import add_up_over_ranks
from vlm_rl.ranks import num_ranks

SHAPES = ((2, 3), (4,), ())


def selected(values: Values, *, batch_size: int, rank: int = 0, num_ranks: int = 1) -> SelectedGroups:
    """This rank's part of a batch, of a step that samples one query for each of the values."""
    settings = DynamicSampling(metric="score", oversample=len(values) / batch_size)
    selection = GroupSelection(settings=settings, batch_size=batch_size, group_size=GROUP)
    return selection.select(*sampled(values, rank=rank, num_ranks=num_ranks))


def selections(folder: Path, rank: int) -> list[SelectedGroups]:
    """Of all steps in steps.pt."""
    steps = torch.load(folder / "steps.pt", weights_only=False)
    return [selected(values, batch_size=batch_size, rank=rank, num_ranks=num_ranks()) for values, batch_size in steps]


def hand_gradient(place: int, rank: int) -> Tensor | None:
    """Of a parameter on a rank: rank 1 had no rows at all, and rank 0 has nothing for the second parameter."""
    if rank == 1 or (rank == 0 and place == 1):
        return None
    size = torch.Size(SHAPES[place]).numel()
    return (torch.arange(1.0, size + 1) * 10.0**rank).view(SHAPES[place])


def gradients(folder: Path, rank: int) -> list[Tensor | None]:
    """After they were added up over ranks."""
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    for place, parameter in enumerate(parameters):
        parameter.grad = hand_gradient(place, rank)
    add_up_over_ranks(parameters)
    return [parameter.grad for parameter in parameters]


if __name__ == "__main__":
    run_case(selections, gradients)
