"""Advantages, averages and gradients of one process against those of two and of three that share the queries."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import rank_shares
import torch
from every_algorithm import EVERY, algorithm
from rank_shares import Answers, Batch
from trajectories import bare

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.types import select

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("float64")]
GROUP = 4
# Every way of pooling that a setting chooses, beside the shipped ones.
OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "grpo by batch": ("grpo", {"scale_by": "batch"}),
    "grpo by tokens": ("grpo", {"loss_average": "token"}),
    "reinforce_pp with kl in the reward": ("reinforce_pp", {"kl_reward_coef": 0.1, "gamma": 0.9}),
    "reinforce_pp by tokens": ("reinforce_pp", {"loss_average": "token", "score_at": "last_token"}),
    "reinforce_pp_baseline by tokens": ("reinforce_pp_baseline", {"whiten_over": "token", "loss_average": "token"}),
    "rloo whitened": ("rloo", {"whiten": True, "ratio_level": "token"}),
    "dr_grpo without cut responses": ("dr_grpo", {"mask_truncated": True}),
    "dapo without cut responses": ("dapo", {"mask_truncated": True}),
}


def settings() -> dict[str, Algorithm]:
    shipped = {name: algorithm(name, **({} if name == "sft" else {"group_size": GROUP})) for name in EVERY}
    return shipped | {label: algorithm(name, group_size=GROUP, **changes) for label, (name, changes) in OPTIONS.items()}


def batch(chosen: Algorithm, *, num_queries: int, seed: int) -> Batch:
    """Responses of 1 to 6 tokens; ranks get different numbers of tokens, of cut responses and of rows of the mini-batch."""
    generator = torch.Generator().manual_seed(seed)
    count = num_queries * chosen.group_size
    lengths = torch.randint(1, 7, (count,), generator=generator).tolist()
    ended = (torch.rand(count, generator=generator) < 0.7).tolist()
    trajectory = bare(lengths, scores=torch.randn(count, generator=generator).tolist(), terminated=ended)
    old, ref, new = (-2 * torch.rand(count, max(lengths), generator=generator) * trajectory.response_mask for _ in range(3))
    return Batch(
        algorithm=chosen,
        trajectory=replace(trajectory, old_logprobs=old, ref_logprobs=ref),
        logprobs=new,
        chosen=torch.rand(count, generator=generator) < 0.6,
    )


QUERIES = {2: 5, 3: 2}  # by number of ranks; of two queries the third rank gets none


@cache
def cases() -> dict[str, Batch]:
    """By name."""
    return {
        f"{label}, {num}": batch(made, num_queries=num, seed=num)
        for label, made in settings().items()
        for num in QUERIES.values()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, float64: None) -> Path:
    """Where the ranks of both groups have left their answers."""
    folder = tmp_path_factory.mktemp("shares")
    torch.save(cases(), folder / "cases.pt")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, rank_shares.__file__, str(folder), "2", "3"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[:3000]
    return folder


def added_up(folder: Path, name: str, *, num_ranks: int) -> Answers:
    """Rows of all ranks, or the sum of their losses."""
    ranks = [torch.load(folder / f"rank-{rank}-of-{num_ranks}.pt", weights_only=False)[name] for rank in range(num_ranks)]
    return {key: torch.stack([answers[key] for answers in ranks]).sum(0) for key in ranks[0]}


@pytest.mark.parametrize("label", [*EVERY, *OPTIONS])
def test_ranks_that_share_a_batch_find_what_one_process_finds(folder: Path, label: str) -> None:
    for num_ranks, num_queries in QUERIES.items():
        expected = cases()[f"{label}, {num_queries}"].answers(rank=0, num_ranks=1)
        found = added_up(folder, f"{label}, {num_queries}", num_ranks=num_ranks)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert float(value.abs().max()) > 1e-4  # there is something to agree on
            torch.testing.assert_close(found[key], value, atol=1e-13, rtol=1e-11)


@pytest.mark.parametrize("label", ["reinforce_pp", "reinforce_pp_baseline", "grpo by batch", "rloo whitened"])
def test_whitening_on_each_rank_alone_would_have_been_seen(folder: Path, label: str) -> None:
    case = cases()[f"{label}, 5"]
    queries = case.trajectory.indices // case.algorithm.group_size
    apart = torch.zeros_like(case.logprobs)
    for rank in range(2):
        rows = (queries % 2 == rank).nonzero()[:, 0]
        rank_shares.fill(apart, rows, case.algorithm.advantages(select(case.trajectory, rows)))
    assert float((apart - added_up(folder, f"{label}, 5", num_ranks=2)["advantages"]).abs().max()) > 0.01
