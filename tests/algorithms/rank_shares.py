"""What each of several ranks makes of its share of a batch; as a script, ranks that talk through gloo.

The script imports no more than the algorithms and forks: two and three ranks together take little more than one import of torch.
"""

import os
import sys
import traceback
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from trajectories import mini_batch

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.types import Tokens, Trajectory, select

Answers = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of all ranks and a mini-batch of it."""

    algorithm: Algorithm
    trajectory: Trajectory
    logprobs: Tokens  # of the policy that is trained
    chosen: Tensor  # True for the rows of the mini-batch

    def answers(self, *, rank: int, num_ranks: int) -> Answers:
        """Advantages of this rank's queries, then weights, loss and gradient of its rows of the mini-batch; 0 in other rows."""
        queries = self.trajectory.indices // self.algorithm.group_size
        rows = (queries % num_ranks == rank).nonzero()[:, 0]  # as DataFlow gives them
        found = {key: torch.zeros_like(self.logprobs) for key in ("advantages", "weights", "gradient")}
        mine = select(self.trajectory, rows)
        advantages = self.algorithm.advantages(mine)
        fill(found["advantages"], rows, advantages)
        local = self.chosen[rows].nonzero()[:, 0]
        mini = select(mine, local)
        width = mini.response_mask.shape[1]
        weights = self.algorithm.token_weights(self.algorithm.loss_mask(mini))
        fill(found["weights"], rows[local], weights)
        logprobs = self.logprobs[rows[local], :width].clone().requires_grad_()
        batch = mini_batch(mini, advantages=advantages[local, :width], weights=weights)
        loss = self.algorithm.loss(logprobs, batch).loss
        loss.backward()
        assert logprobs.grad is not None
        fill(found["gradient"], rows[local], logprobs.grad)
        return found | {"loss": loss.detach()}


def fill(whole: Tensor, rows: Tensor, part: Tensor) -> None:
    """Puts rows, which may be narrower, where they belong."""
    whole[rows, : part.shape[1]] = part


def rank_process(folder: Path, *, rank: int, num_ranks: int) -> None:
    """Answers all cases of a folder together with the other ranks."""
    store = f"file://{folder}/store-{num_ranks}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=num_ranks, timeout=timedelta(seconds=30))
    cases = torch.load(folder / "cases.pt", weights_only=False)
    found = {name: case.answers(rank=rank, num_ranks=num_ranks) for name, case in cases.items()}
    torch.save(found, folder / f"rank-{rank}-of-{num_ranks}.pt")
    dist.destroy_process_group()


def forked(folder: Path, *, rank: int, num_ranks: int) -> int:
    """The process of one rank."""
    pid = os.fork()
    if pid:
        return pid
    try:
        rank_process(folder, rank=rank, num_ranks=num_ranks)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def main(folder: Path, *, sizes: list[int]) -> int:
    """Groups of these sizes, one after the other; the number of ranks that failed."""
    torch.set_default_dtype(torch.float64)
    failed = 0
    for num_ranks in sizes:
        pids = [forked(folder, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
        failed += sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sizes=[int(size) for size in sys.argv[2:]]))
