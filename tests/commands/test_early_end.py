"""A run that ends by its bottleneck is finished: its manifest, its log and the command say so, and a resumed one ends alike."""

import signal
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from tiny_commands import content, only_run, train, trained_steps

from vlm_rl.arm_hash import arm_of, comparable, vanilla_of
from vlm_rl.callbacks.saved_steps import saved_steps
from vlm_rl.commands.build import composed, plain
from vlm_rl.run_folder import RunFolder

# Two steps an epoch. The reward is a coin, so nothing rises by 30 points; the accuracy is that of real answers.
ENDING = (
    "experiment=smoke",
    "num_threads=1",
    "reward=random",
    "dataset.max_new_tokens=40",
    "dataset.batch_size=8",
    "dataset.evaluation_rows=2",
    "dataset.epochs=5",
    "evaluation.scheme.splits=[val]",
    "bottleneck=training_accuracy",
    "bottleneck.epochs=2",
    "bottleneck.gain=0.3",
)
END = {"epoch": 3, "of_epochs": 5, "generation_steps": 6, "saved_generation_steps": 4}


def told(run: RunFolder) -> dict[str, Any]:
    """What the manifest has of the end, but for the time."""
    end = (run.manifest or {})["bottleneck"]
    assert end["saved_seconds"] > 0
    return {key: value for key, value in end.items() if key != "saved_seconds"}


@pytest.fixture(scope="module")
def ended(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where a run ended early, and what it printed."""
    cwd = tmp_path_factory.mktemp("ended")
    return cwd, train(forking, cwd, *ENDING, "study=ended").out


@pytest.mark.slow
def test_a_run_ends_early_and_says_what_it_saved(ended: tuple[Path, str]) -> None:
    cwd, out = ended
    run = only_run(cwd, study="ended")
    lines = list(run.lines("metrics.jsonl"))
    accuracies = [line["train/accuracy_in_epoch"] for line in lines if line["event"] == "train"][1::2]
    assert (run.manifest or {})["status"] == "finished" and told(run) == END
    assert trained_steps(run) == [1, 2, 3, 4, 5, 6] and max(accuracies) > 0
    (event,) = (line for line in lines if line["event"] == "bottleneck")
    assert (event["generation_steps"], event["epoch"], event["bottleneck/saved_generation_steps"]) == (6, 3.0, 4)
    assert (event["bottleneck/best_before"], event["bottleneck/best_of_last"]) == (accuracies[0], max(accuracies[1:]))
    assert (
        "Ended by its bottleneck after epoch 3 of 5: training accuracy no longer rises. Saved: 4 of 10 generation steps" in out
    )
    assert [line["epoch"] for line in lines if line["event"] == "evaluation"] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.slow
def test_the_same_command_skips_it(forking: Forking, ended: tuple[Path, str]) -> None:
    cwd, _ = ended
    assert "is finished; nothing to do." in train(forking, cwd, *ENDING, "study=ended").out


@pytest.mark.slow
def test_a_killed_run_ends_where_an_uninterrupted_one_does(forking: Forking, ended: tuple[Path, str], tmp_path: Path) -> None:
    command = forking.start("train.py", [*ENDING, "study=killed"], cwd=tmp_path)
    assert command.wait_until(lambda: bool(list(tmp_path.glob("outputs/killed/*/*/checkpoints/step-000003"))))
    command.send(signal.SIGKILL)
    command.wait()
    train(forking, tmp_path, *ENDING, "study=killed")
    run = only_run(tmp_path, study="killed")
    assert content(run) == content(only_run(ended[0], study="ended")) and told(run) == END


@pytest.mark.slow
def test_a_run_that_was_killed_after_its_decision_takes_no_further_step(forking: Forking, tmp_path: Path) -> None:
    """As SIGKILL between its last checkpoint and its end leaves it: everything is on the disk, and the manifest says nothing."""
    train(forking, tmp_path, *ENDING, "study=late")
    run = only_run(tmp_path, study="late")
    before = content(run)
    written = {key: value for key, value in (run.manifest or {}).items() if key != "bottleneck"}
    run.write_manifest(written | {"status": "running", "picked_step": None})
    out = train(forking, tmp_path, *ENDING, "study=late").out
    assert "Resuming from" in out and "step-000006" in out and "Ended by its bottleneck after epoch 3 of 5" in out
    assert content(run) == before and told(run) == END
    assert (run.manifest or {})["status"] == "finished" and (run.manifest or {})["picked_step"] is not None
    assert saved_steps(run)[-1].generation_steps == 6


def test_the_option_makes_another_arm_and_none_the_arm_of_before() -> None:
    """Runs that were made before there was such a key go on, too."""
    without, own, later = (
        plain(composed(["study=s", *words]))
        for words in ([], ["bottleneck=training_accuracy"], ["bottleneck=training_accuracy", "bottleneck.epochs=4"])
    )
    older = {key: value for key, value in without.items() if key != "bottleneck"}
    assert comparable(older) == comparable(without) and arm_of(older) == arm_of(without)
    assert len({arm_of(without), arm_of(own), arm_of(later)}) == 3
    assert vanilla_of(older) == vanilla_of(without) == vanilla_of(own)
