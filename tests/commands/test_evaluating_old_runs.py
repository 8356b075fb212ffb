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
