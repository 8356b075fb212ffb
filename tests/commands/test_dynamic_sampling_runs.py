"""Runs whose updates wait for groups that differ, by the command: what is counted, what is learned, and how they go on."""

import json
import shutil
import signal
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from forking import Forking
from safetensors.torch import load_file
from tiny_commands import content, only_run, train, trained_steps

from vlm_rl.commands.build import arm_of, composed, plain
from vlm_rl.commands.resolvers import variant
from vlm_rl.run_folder import RunFolder

# 8 generation steps of 4 groups of 2, in 2 epochs. The reward is a coin for each text: groups differ where their texts do.
WAITING = (
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
    "algorithm.dynamic_sampling.update_share=1",
)
UPDATES_A_STEP = 2


@pytest.fixture(scope="module")
def waited(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `study=waited` ran from its beginning to its end and kept every checkpoint."""
    cwd = tmp_path_factory.mktemp("waited")
    train(forking, cwd, *WAITING, "study=waited", "checkpoint.keep_every=1")
    return cwd


def lines(run: RunFolder) -> list[dict[str, float]]:
    """What was logged after each generation step."""
    return [line for line in run.lines("metrics.jsonl") if line["event"] == "train"]


def waiting(run: RunFolder) -> list[int]:
    """The generation steps after which groups waited."""
    return [int(line["generation_steps"]) for line in lines(run) if line["sampling/waiting_groups"]]


def adapter(run: RunFolder, step: int) -> bytes:
    """The trained weights of a checkpoint."""
    return (run.path / "checkpoints" / f"step-{step:06d}" / "adapter_model.safetensors").read_bytes()


def test_the_run_waits_within_an_epoch_and_over_the_end_of_one(waited: Path) -> None:
    """Otherwise the tests below would show nothing."""
    assert {1, 2, 4} <= set(waiting(only_run(waited, study="waited")))


def test_weights_move_and_updates_count_only_where_a_batch_is_full(waited: Path) -> None:
    run = only_run(waited, study="waited")
    updates = 0
    for before, after in pairwise([{"generation_steps": 0, "sampling/waiting_groups": 0}, *lines(run)]):
        step = int(after["generation_steps"])
        is_full = before["sampling/waiting_groups"] + after["sampling/kept_groups"] >= 4
        updates += UPDATES_A_STEP * is_full
        assert after["gradient_steps"] == updates
        assert (after["policy/gradient_norm"] is not None) == (after["sampling/steps_per_update"] is not None) == is_full
        assert step == 1 or (adapter(run, step) != adapter(run, step - 1)) == is_full
    assert updates > UPDATES_A_STEP


def test_the_counts_are_those_of_the_completions(waited: Path) -> None:
    run = only_run(waited, study="waited")
    for line, cost in zip(lines(run), (c for c in run.lines("cost.jsonl") if c["event"] == "train"), strict=True):
        table = pq.read_table(run.path / "completions" / f"step-{line['generation_steps']:06d}.parquet").to_pylist()
        groups = [table[start : start + 2] for start in range(0, 8, 2)]
        assert all(left["row_id"] == right["row_id"] for left, right in groups)
        dropped = [group for group in groups if group[0]["score"] == group[1]["score"]]
        assert line["sampling/dropped_groups"] == len(dropped) == 4 - line["sampling/kept_groups"]
        assert line["sampling/surplus_groups"] == 0  # tests/pipeline/test_batch_filling.py has some
        assert cost["tokens/thrown_away"] == sum(row["response_length"] for group in dropped for row in group)
        assert line["train/reward"] == sum(row["score"] for row in table) / 8  # over all that was sampled


@pytest.mark.parametrize("step", [2, 4, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 5, 6, 7))])
def test_a_run_that_goes_on_while_groups_wait_ends_as_if_nothing_had_happened(
    forking: Forking, waited: Path, tmp_path: Path, step: int
) -> None:
    """As it is when it was killed after a checkpoint: the others are taken away and the run is no longer finished."""
    cwd = tmp_path / "resumed"
    shutil.copytree(waited, cwd)
    run = only_run(cwd, study="waited")
    assert step in waiting(run)
    for path in (run.path / "checkpoints").iterdir():
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)
    run.write_manifest({**(run.manifest or {}), "status": "running"})
    finished = train(forking, cwd, *WAITING, "study=waited", "checkpoint.keep_every=1")
    assert f"step-{step:06d}" in finished.out
    assert "generation steps are sampled again." in finished.out
    assert trained_steps(run) == list(range(1, 9))
    assert content(run) == content(only_run(waited, study="waited"))


@pytest.mark.slow
def test_ctrl_c_while_groups_wait_leaves_a_checkpoint_that_goes_on(forking: Forking, waited: Path, tmp_path: Path) -> None:
    arguments = [*WAITING, "study=interrupted", "checkpoint.every=100"]
    command = forking.start("train.py", arguments, cwd=tmp_path)
    assert command.wait_until(lambda: any(tmp_path.glob("outputs/interrupted/*/seed-0/completions/step-000001.parquet")))
    command.send(signal.SIGINT)
    assert command.wait().code == 130
    train(forking, tmp_path, *arguments)
    run, expected = only_run(tmp_path, study="interrupted"), only_run(waited, study="waited")
    assert (run.path / "metrics.jsonl").read_bytes() == (expected.path / "metrics.jsonl").read_bytes()
    assert adapter(run, 8) == adapter(expected, 8)


def test_a_run_whose_groups_never_differ_learns_nothing_and_stops_after_its_patience(forking: Forking, tmp_path: Path) -> None:
    """After six tokens both texts of a group are still the same. With a larger patience the run goes on in its folder, to its end."""
    arguments = [*WAITING, "dataset.max_new_tokens=6", "algorithm.dynamic_sampling.patience=3", "study=alike"]
    finished = forking.run("train.py", arguments, cwd=tmp_path)
    run = only_run(tmp_path, study="alike")
    assert finished.code == 2, finished.out + finished.err
    assert "Traceback" not in finished.err
    assert "No update in 3 generation steps in a row (algorithm.dynamic_sampling.patience): of 12 groups" in finished.err
    assert trained_steps(run) == [1, 2]
    assert [line["sampling/dropped_groups"] for line in lines(run)] == [4, 4]
    (stopped,) = (json.loads(line) for line in (run.path / "alerts.jsonl").read_text().splitlines() if "run_stopped" in line)
    assert stopped["generation_steps"] == 3
    weights = load_file(run.path / "checkpoints" / "step-000002" / "adapter_model.safetensors")
    assert all(not tensor.any() for name, tensor in weights.items() if "lora_B" in name)  # as they began
    patient = train(forking, tmp_path, *arguments, "algorithm.dynamic_sampling.patience=8")
    assert "Groups waited for an update: 2 generation steps are sampled again." in patient.out
    assert trained_steps(only_run(tmp_path, study="alike")) == list(range(1, 9))


def test_patience_is_no_part_of_what_a_run_is() -> None:
    key = "algorithm.dynamic_sampling"
    shipped, patient, other = (
        ["algorithm=dapo", *more] for more in ([], [f"{key}.patience=50"], [f"{key}.patience=50", f"{key}.update_share=1"])
    )
    assert variant(shipped) == variant(patient) == "algorithm-dapo" != variant(other)
    arms = [arm_of(plain(composed([*overrides, "study=s"]))) for overrides in (shipped, patient, other)]
    assert arms[0] == arms[1] != arms[2]
