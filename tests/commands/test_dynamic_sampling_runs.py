"""Runs that sample more groups than they learn from, by the command: what is counted, what is learned, and how they go on."""

import shutil
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from forking import Forking
from safetensors.torch import load_file
from tiny_commands import content, only_run, train, trained_steps

from vlm_rl.run_folder import RunFolder

pytestmark = pytest.mark.slow  # whole runs

# 16 rows in 2 epochs of 2 generation steps: each samples 6 groups of 2 and learns from 4. The reward is a coin for each text.
SAMPLING = (
    "experiment=smoke",
    "num_threads=1",
    "dataset.source.val_rows=2",
    "dataset.source.test_rows=2",
    "dataset.batch_size=4",
    "dataset.max_new_tokens=24",
    "evaluation.scheme.splits=[val]",
    "reward=random",
    "algorithm=grpo",
    "algorithm.group_size=2",
    "algorithm/dynamic_sampling=dapo",
    "algorithm.dynamic_sampling.metric=score",
)
NUM_STEPS, UPDATES_A_STEP, SAMPLED, LEARNED = 4, 2, 6, 4


@pytest.fixture(scope="module")
def whole(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `study=whole` ran from its beginning to its end and kept every checkpoint."""
    cwd = tmp_path_factory.mktemp("whole")
    train(forking, cwd, *SAMPLING, "study=whole", "checkpoint.keep_every=1")
    return cwd


def lines(run: RunFolder) -> list[dict[str, float]]:
    """What was logged after each generation step."""
    return [line for line in run.lines("metrics.jsonl") if line["event"] == "train"]


def adapter(run: RunFolder, step: int) -> bytes:
    """The trained weights of a checkpoint."""
    return (run.path / "checkpoints" / f"step-{step:06d}" / "adapter_model.safetensors").read_bytes()


def groups_of(run: RunFolder, step: int) -> list[list[dict[str, float]]]:
    """The responses of a generation step, group by group."""
    table = pq.read_table(run.path / "completions" / f"step-{step:06d}.parquet").to_pylist()
    groups = [table[start : start + 2] for start in range(0, len(table), 2)]
    assert all(left["row_id"] == right["row_id"] for left, right in groups)
    return groups


def test_every_step_ends_with_its_updates_and_the_weights_move(whole: Path) -> None:
    run = only_run(whole, study="whole")
    assert trained_steps(run) == list(range(1, NUM_STEPS + 1))
    rates = [line["policy/learning_rate"] for line in lines(run)]
    assert len(set(rates)) == NUM_STEPS
    for step, line in enumerate(lines(run), start=1):
        assert line["gradient_steps"] == UPDATES_A_STEP * step
        assert line["policy/gradient_norm"] >= 0 and line["policy/skipped_updates"] == 0  # a number, no NaN
        assert line["epoch"] == SAMPLED * step / (2 * SAMPLED)  # rows consumed over those of an epoch's batches
    learned = [line["policy/gradient_norm"] > 0 for line in lines(run)]
    assert any(learned)
    for step, (before, after) in enumerate(pairwise([adapter(run, step) for step in range(1, NUM_STEPS + 1)]), start=1):
        assert before != after or not learned[step]


def test_completions_hold_all_that_was_sampled_and_the_counts_agree_with_them(whole: Path) -> None:
    run = only_run(whole, study="whole")
    costs = [cost for cost in run.lines("cost.jsonl") if cost["event"] == "train"]
    found = set()
    for step, (line, cost) in enumerate(zip(lines(run), costs, strict=True), start=1):
        groups = groups_of(run, step)
        differing = [group for group in groups if group[0]["score"] != group[1]["score"]]
        others = [group for group in groups if group not in differing]
        assert len(groups) == SAMPLED
        assert line["sampling/differing_groups"] == len(differing)
        assert line["sampling/missing_groups"] == max(0, LEARNED - len(differing))
        assert line["sampling/fell_short"] == (len(differing) < LEARNED)
        assert line["sampling/thrown_away_groups"] == SAMPLED - LEARNED
        left_out = (differing + others)[LEARNED:]
        assert cost["tokens/thrown_away"] == sum(row["response_length"] for group in left_out for row in group)
        assert line["train/reward"] == pytest.approx(sum(r["score"] for group in groups for r in group) / (2 * SAMPLED))
        found.add(len(differing))
    assert found - {0}  # otherwise this would show little


@pytest.mark.parametrize("step", [1, 2])
def test_a_run_that_goes_on_ends_as_if_nothing_had_happened_and_samples_nothing_again(
    forking: Forking, whole: Path, tmp_path: Path, step: int
) -> None:
    """As it is when it was killed after a checkpoint: the others are taken away and the run is no longer finished."""
    cwd = tmp_path / "resumed"
    shutil.copytree(whole, cwd)
    run = only_run(cwd, study="whole")
    for path in (run.path / "checkpoints").iterdir():
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)
    run.write_manifest({**(run.manifest or {}), "status": "running"})
    kept = [run.path / "completions" / f"step-{done:06d}.parquet" for done in range(1, step + 1)]
    written = [file.stat().st_mtime_ns for file in kept]
    finished = train(forking, cwd, *SAMPLING, "study=whole", "checkpoint.keep_every=1")
    assert f"step-{step:06d}" in finished.out and "again" not in finished.out
    assert [file.stat().st_mtime_ns for file in kept] == written
    assert trained_steps(run) == list(range(1, NUM_STEPS + 1))
    assert content(run) == content(only_run(whole, study="whole"))
    new = [cost["generation_steps"] for cost in run.lines("cost.jsonl") if cost["event"] == "train"]
    assert new == list(range(1, NUM_STEPS + 1))


def test_a_step_in_which_nothing_differs_ends_with_its_updates_and_is_counted(forking: Forking, tmp_path: Path) -> None:
    """After six tokens both texts of a group are still the same: no advantage, no gradient, no other weights."""
    train(forking, tmp_path, *SAMPLING, "dataset.max_new_tokens=6", "study=alike")
    run = only_run(tmp_path, study="alike")
    assert trained_steps(run) == list(range(1, NUM_STEPS + 1))
    rates = [line["policy/learning_rate"] for line in lines(run)]
    assert len(set(rates)) == NUM_STEPS
    for step, line in enumerate(lines(run), start=1):
        assert line["gradient_steps"] == UPDATES_A_STEP * step
        assert (line["sampling/differing_groups"], line["sampling/missing_groups"]) == (0, LEARNED)
        assert line["sampling/fell_short"] == 1
        assert line["policy/gradient_norm"] == pytest.approx(0, abs=1e-6)
        assert line["policy/skipped_updates"] == 0
    assert run.manifest is not None and run.manifest["status"] == "finished"
    weights = load_file(run.path / "checkpoints" / f"step-{NUM_STEPS:06d}" / "adapter_model.safetensors")
    assert all(float(tensor.abs().max()) < 1e-6 for name, tensor in weights.items() if "lora_B" in name)  # as they began
