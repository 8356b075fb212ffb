"""What several ranks do in the tests of balanced ranks: each has its part of the rows that are given."""

from datetime import timedelta
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
from balanced_cases import Updated, part, updated
from forked import run_case
from torch import Tensor

from vlm_rl.masking import pooled
from vlm_rl.pipeline import balanced_ranks
from vlm_rl.types import MiniBatch


def updates(folder: Path, rank: int) -> list[Updated]:
    """Of every case."""
    torch.set_num_threads(1)
    cases = torch.load(folder / "cases.pt", weights_only=False)
    return [updated(words, part(whole, rank=rank, num_ranks=dist.get_world_size())) for words, whole in cases]


def exchange(folder: Path, rank: int) -> tuple[MiniBatch, int, bool]:
    """A mini-batch of all rows after the exchange; the bytes that this rank sent; whether rows that stayed have their old pictures."""
    whole, is_shared = torch.load(folder / "mini_batch.pt", weights_only=False)
    before, sent = part(whole, rank=rank, num_ranks=dist.get_world_size()), list[int]()
    send = dist.all_to_all_single

    def noted(output: Tensor, input: Tensor, *sizes: list[int]) -> None:
        sent.append(input.nbytes)
        send(output, input, *sizes)

    with mock.patch.object(dist, "all_to_all_single", noted):
        after = balanced_ranks.balanced(before, is_shared=is_shared)
    old = dict(zip(before.indices.tolist(), before.images, strict=True))
    stayed = [images is old[i] for i, images in zip(after.indices.tolist(), after.images, strict=True) if i in old]
    assert int(pooled(torch.tensor(len(after)))) == len(whole)
    return after, sum(sent), all(stayed)


if __name__ == "__main__":
    balanced_ranks.FREE = 0  # these mini-batches are tiny
    run_case(updates, exchange, limit=timedelta(minutes=10))  # ranks build their policies at different speeds
