"""A run of an older version: what training has come to refuse since does not keep it from being evaluated."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from forking import Finished, Forking
from tiny_commands import only_run

from vlm_rl.commands.evaluation_target import find
from vlm_rl.run_folder import RunFolder


@pytest.fixture
def run(whole: Path) -> RunFolder:
    """Finished, as of today."""
    return only_run(whole, study="whole")


def of_old(run: RunFolder, cwd: Path, *overrides: str) -> RunFolder:
    """The run as it would be had this been typed for its algorithm and reward."""
    folder = cwd / "outputs" / "rl" / "old" / "seed-0"
    shutil.copytree(run.path, folder)
    old = RunFolder(path=folder)
    assert old.manifest is not None
    kept = [word for word in old.manifest["overrides"] if not word.startswith("algorithm.")]
    old.write_manifest(old.manifest | {"overrides": [*kept, *overrides]})
    return old


def assert_as_in_training(evaluated: Finished, old: RunFolder) -> None:
    """The same answers to the same questions."""
    assert evaluated.code == 0, evaluated.out + evaluated.err
    files = sorted(old.path.glob("evaluate/*/seed-0/evaluations/*/*.parquet"))
    assert len(files) == 3  # the settings, on validation
    for file in files:
        assert pq.read_table(file).equals(pq.read_table(old.path / "evaluations" / file.parent.name / file.name))


def test_a_reward_that_training_would_refuse_today(forking: Forking, run: RunFolder, tmp_path: Path) -> None:
    old = of_old(run, tmp_path, "+reward/term@reward.terms.cut=truncation")
    refused = forking.run("train.py", [*find(str(old.path)).overrides, "study=again"], cwd=tmp_path)
    assert (refused.code, "reward.terms.cut is against long responses" in refused.err) == (2, True)
    assert_as_in_training(forking.run("evaluate.py", [f"checkpoint={old.path}"], cwd=tmp_path), old)


def test_dynamic_sampling_for_which_today_an_epoch_has_no_step(forking: Forking, run: RunFolder, tmp_path: Path) -> None:
    """All rows are a batch, and half as many again are more than there are. The epoch is the one that the run wrote down."""
    assert run.manifest is not None
    rows = run.manifest["config"]["dataset"]["source"]["train_rows"]
    sampling = ("algorithm/dynamic_sampling=dapo", "algorithm.dynamic_sampling.metric=score", "algorithm.group_size=2")
    old = of_old(run, tmp_path, "algorithm=grpo", *sampling, f"dataset.batch_size={rows}")
    refused = forking.run("train.py", [*find(str(old.path)).overrides, "study=again"], cwd=tmp_path)
    assert (refused.code, f"is more than the {rows} training rows" in refused.err) == (2, True), refused.err
    assert_as_in_training(forking.run("evaluate.py", [f"checkpoint={old.path}"], cwd=tmp_path), old)
