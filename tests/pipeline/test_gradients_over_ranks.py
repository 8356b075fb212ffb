"""Gradients become their sum over ranks; a rank without rows takes part."""

from pathlib import Path

import pytest
import rank_programs
import torch
from forked import on_ranks
from forking import Forking
from rank_programs import SHAPES, hand_gradient
from torch import nn

from vlm_rl.masking import add_up_over_ranks


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_every_rank_has_the_sum_of_all_and_what_nobody_has_stays_without(
    forking: Forking, tmp_path: Path, num_ranks: int
) -> None:
    """The gradients are 1, 2, 3 ... on rank 0 and a hundred times as much on rank 2; rank 1 has none."""
    found = on_ranks(forking, rank_programs.__file__, "gradients", tmp_path, num_ranks=num_ranks)
    if num_ranks == 2:
        expected = [torch.arange(1.0, 7).view(2, 3), None, torch.tensor(1.0)]
    else:
        expected = [101 * torch.arange(1.0, 7).view(2, 3), torch.tensor([100.0, 200, 300, 400]), torch.tensor(101.0)]
    for rank in found:
        assert len(rank) == len(SHAPES)
        for left, right in zip(rank, expected, strict=True):
            assert left is right is None or torch.equal(left, right)


def test_one_rank_alone_keeps_its_gradients_as_they_are() -> None:
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    given = [hand_gradient(place, 0) for place in range(len(SHAPES))]
    for parameter, gradient in zip(parameters, given, strict=True):
        parameter.grad = gradient
    add_up_over_ranks(parameters)
    assert all(parameter.grad is gradient for parameter, gradient in zip(parameters, given, strict=True))
