"""`report.py check=true`: what is whole is said, what training can make again is made, what nobody can is named with its way out."""

import shutil
from pathlib import Path

import pytest
from forking import Finished, Forking
from tiny_commands import content, only_run

from vlm_rl.run_folder import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> RunFolder:
    """A copy of a finished run, to spoil."""
    shutil.copytree(whole / "outputs", tmp_path / "outputs")
    return only_run(tmp_path, study="whole")


def check(forking: Forking, cwd: Path, *words: str) -> Finished:
    """`python report.py studies=[outputs/whole] check=true ...`."""
    return forking.run("report.py", ["studies=[outputs/whole]", "check=true", *words], cwd=cwd)


def test_a_whole_study_is_said_to_be_whole_and_gets_no_report(forking: Forking, run: RunFolder, tmp_path: Path) -> None:
    checked = check(forking, tmp_path)
    assert checked.code == 0, checked.out + checked.err
    assert "seed-0: whole; checkpoints: step-00000" in checked.out
    assert "2 of 2 runs are whole." in checked.out
    assert not (tmp_path / "outputs" / "whole" / "report.html").exists()


def test_what_can_be_made_again_is_made_and_is_the_same(forking: Forking, run: RunFolder, whole: Path, tmp_path: Path) -> None:
    completions, stray = (run.path / "completions" / name for name in ("step-000008.parquet", "mine.parquet"))
    completions.write_bytes(bytes(completions.stat().st_size))
    (vanilla,) = tmp_path.glob("outputs/whole/vanilla-*/seed-0/evaluations/*/val_pass@1_t0.6.parquet")
    evaluation = vanilla.read_bytes()
    vanilla.unlink()
    said = check(forking, tmp_path, "mend=false")
    assert said.code == 2
    assert "step-000008.parquet is not what was written: bytes have changed" in said.out
    assert "Way out: its command goes on from step-000007 and makes the rest again." in said.out
    assert not vanilla.exists()
    mended = check(forking, tmp_path)
    assert mended.code == 0, mended.out + mended.err
    assert content(run) == content(only_run(whole, study="whole"))
    assert vanilla.read_bytes() == evaluation
    shutil.copy(completions, stray)
    assert f"{stray.name} was not written by this run" in check(forking, tmp_path).out
    assert stray.exists()


def test_what_nothing_makes_again_is_named(forking: Forking, run: RunFolder, tmp_path: Path) -> None:
    (run.path / "completions" / "step-000001.parquet").unlink()
    checked = check(forking, tmp_path)
    assert checked.code == 2
    assert "step-000001.parquet is not there" in checked.out
    assert "put whole copies of these files back" in checked.out
    assert "Traceback" not in checked.err
