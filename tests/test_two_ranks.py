"""One process against two that talk through gloo, by the command that a person types."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file
from torch import Tensor

from vlm_rl.run_folder import RunFolder

TRAIN = Path(__file__).parents[1] / "train.py"
# A coin as the reward: there is something to learn whatever the weights.
OVERRIDES = (
    "experiment=smoke",
    "reward=random",
    "dataset.evaluation_rows=2",
    "parity.every=1",
    "num_threads=1",
    "trainer.accelerator=cpu",
    "study=ranks",
    "hydra.run.dir=run/a/seed-0",
)
SCORED_IN_ANY_CASE = ("algorithm.score_at=last_token", "dataset.max_new_tokens=12", "dataset.epochs=1")  # 2 steps
WAITING = (  # 4 steps of 8 groups
    "algorithm=grpo",
    "algorithm.group_size=2",
    "algorithm/dynamic_sampling=dapo",
    "algorithm.dynamic_sampling.metric=score",
    "dataset.max_new_tokens=40",
)
TWO = ("trainer.devices=2", "trainer.strategy=ddp")


def trained(folder: Path, *overrides: str) -> Path:
    folder.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(TRAIN), *OVERRIDES, *overrides],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "run" / "a" / "seed-0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("ranks")
    one = trained(folder / "one", *SCORED_IN_ANY_CASE)
    return one, trained(folder / "two", *SCORED_IN_ANY_CASE, *TWO)


def completions(run: Path) -> pa.Table:
    tables = [pq.read_table(file) for file in sorted((run / "completions").glob("*.parquet"))]
    return pa.concat_tables(tables).sort_by([(name, "ascending") for name in ("generation_steps", "row_id", "sample")])


def train_lines(run: Path) -> list[dict[str, Any]]:
    return [line for line in RunFolder(path=run).lines("metrics.jsonl") if line["event"] == "train"]


def adapter(run: Path, *, step: int = 2) -> dict[str, Tensor]:
    return load_file(run / "checkpoints" / f"step-{step:06d}" / "adapter_model.safetensors")


def test_two_ranks_write_the_same_responses_with_the_same_scores(runs: tuple[Path, Path]) -> None:
    one, two = (completions(run) for run in runs)
    assert one.num_rows == 16
    assert one.equals(two)
    assert len(set(one["reward_random"].to_pylist())) == 2  # so there was something to learn


def test_two_ranks_learn_the_same_adapter_up_to_rounding(runs: tuple[Path, Path]) -> None:
    one, two = (adapter(run) for run in runs)
    moved = [tensor for name, tensor in one.items() if "lora_B" in name]  # they begin at 0
    assert max(float(tensor.abs().max()) for tensor in moved) > 1e-5
    largest = max(float((one[name] - two[name]).abs().max()) for name in one)
    print(f"largest difference of the adapters: {largest:.2e}")
    assert largest < 1e-6


def test_two_ranks_evaluate_the_same(runs: tuple[Path, Path]) -> None:
    files = sorted(file.relative_to(runs[0]) for file in runs[0].glob("evaluations/*/*.parquet"))
    assert len(files) == 6
    assert all(pq.read_table(runs[0] / file).equals(pq.read_table(runs[1] / file)) for file in files)


@pytest.mark.slow
def test_two_ranks_wait_for_the_same_groups_and_learn_the_same(tmp_path: Path) -> None:
    one, two = trained(tmp_path / "one", *WAITING), trained(tmp_path / "two", *WAITING, *TWO)
    told = [
        [(line["gradient_steps"], {k: v for k, v in line.items() if k.startswith("sampling/")}) for line in train_lines(run)]
        for run in (one, two)
    ]
    print(told[0])
    assert told[0] == told[1]
    assert told[0][-1][0] > 0  # something was learned
    assert any(numbers["sampling/waiting_groups"] for _, numbers in told[0])
    thrown_away = [[cost.get("tokens/thrown_away") for cost in RunFolder(path=run).lines("cost.jsonl")] for run in (one, two)]
    assert thrown_away[0] == thrown_away[1]
    left, right = adapter(one, step=4), adapter(two, step=4)
    largest = max(float((left[name] - right[name]).abs().max()) for name in left)
    print(f"largest difference of the adapters: {largest:.2e}")
    assert largest < 1e-6
