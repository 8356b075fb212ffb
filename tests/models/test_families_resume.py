"""`python train.py` on a family of another kind than the tiny model: interrupted by SIGTERM and started again, it ends the same."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from forking import Forking
from tiny_commands import TINY, content, only_run, train, trained_steps

SMALL = ("model.dtype=float32", "model.lora.rank=4", "model.optimization.learning_rate=1e-3", "dataset.source.train_rows=8")


@pytest.mark.slow
def test_an_interrupted_run_ends_as_the_uninterrupted_one(
    family_folder: Callable[[str], Path], forking: Forking, tmp_path: Path
) -> None:
    arguments = [*TINY, "model=gemma3_4b", f"model.name={family_folder('gemma3')}", *SMALL]
    train(forking, tmp_path, *arguments, "study=whole")
    whole = only_run(tmp_path, study="whole")
    assert trained_steps(whole) == [1, 2, 3, 4]
    command = forking.start("train.py", [*arguments, "study=cut"], cwd=tmp_path)
    assert command.wait_until(lambda: bool(list(tmp_path.glob("outputs/cut/*/seed-0/completions/step-000002*"))))
    command.send(signal.SIGTERM)
    finished = command.wait()
    assert finished.code == 130, finished.out + finished.err
    cut = only_run(tmp_path, study="cut")
    assert trained_steps(cut)[-1] < 4
    train(forking, tmp_path, *arguments, "study=cut")
    assert content(cut) == content(whole)
