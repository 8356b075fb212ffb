"""Which checkpoint `evaluate.py checkpoint=<run>` takes, and what it is called."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from vlm_rl.commands.evaluation_target import Target, find


def run_with(folder: Path, *, status: str, picked_step: int | None, saved: Sequence[int]) -> Target:
    """What is evaluated of a run that says this of itself and has these checkpoints."""
    run = folder / "outputs" / "s" / "default" / "seed-0"
    for step in saved:
        (run / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
    manifest = {"algorithm": "grpo", "overrides": [], "status": status, "picked_step": picked_step}
    (run / "manifest.json").write_text(json.dumps(manifest))
    return find(str(run))


def test_a_finished_run_gives_what_validation_picked_and_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = run_with(tmp_path, status="finished", picked_step=4, saved=[4, 9])
    assert (target.chosen, target.generation_steps) == ("picked", 4)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("status", "picked_step", "why"),
    [
        ("running", None, "it is not finished, so validation has picked no checkpoint yet."),
        ("finished", None, "validation picked no checkpoint."),
        ("finished", 4, "the checkpoint that validation picked, step-000004, is not there any more."),
    ],
)
def test_the_last_checkpoint_in_place_of_the_picked_one_is_said_and_named_by_its_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: str, picked_step: int | None, why: str
) -> None:
    target = run_with(tmp_path, status=status, picked_step=picked_step, saved=[8, 9])
    assert (target.chosen, target.generation_steps) == ("step-000009", 9)  # the name that seeds of one arm share
    assert f"{why} Its last checkpoint is taken, step-000009.\n" in capsys.readouterr().out
