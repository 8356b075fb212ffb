"""One process against two that talk through gloo, by the command that a person types."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file
from torch import Tensor

TRAIN = Path(__file__).parents[1] / "train.py"
# A coin as the reward and a score for truncated responses too: there is something to learn whatever the weights.
OVERRIDES = (
    "experiment=smoke",
    "reward=random",
    "algorithm.score_at=last_token",
    "dataset.max_new_tokens=12",
    "dataset.epochs=1",
    "dataset.evaluation_rows=2",
    "parity.every=1",
    "num_threads=1",
    "trainer.accelerator=cpu",
    "study=ranks",
    "hydra.run.dir=run/a/seed-0",
)


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
    one = trained(folder / "one")
    return one, trained(folder / "two", "trainer.devices=2", "trainer.strategy=ddp")


def completions(run: Path) -> pa.Table:
    tables = [pq.read_table(file) for file in sorted((run / "completions").glob("*.parquet"))]
    return pa.concat_tables(tables).sort_by([(name, "ascending") for name in ("generation_steps", "row_id", "sample")])


def adapter(run: Path) -> dict[str, Tensor]:
    return load_file(run / "checkpoints" / "step-000002" / "adapter_model.safetensors")


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
