"""From which checkpoint a run goes on when files were damaged, and when it is refused. Damages to single files: test_run_folder.py."""

import contextlib
from pathlib import Path

import pyarrow as pa
import pytest
from test_checkpoint import FakePolicy

from vlm_rl.callbacks.checkpoint import save_whole
from vlm_rl.callbacks.saved_steps import choose, problems_of_finished, remember_finished, saved_steps, step_to_resume
from vlm_rl.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Six steps with checkpoints after 2, 4 and 6; finished."""
    folder = RunFolder(path=tmp_path / "seed-0")
    folder.write_manifest({"status": "running", "config": {"checkpoint": {"every": 2}}})
    for step in range(1, 7):
        folder.write_table(completions(step), pa.table({"row": [step]}))
        folder.append("metrics.jsonl", {"event": "train", "generation_steps": step})
        if step % 2 == 0:
            save_whole(checkpoint(folder, step), FakePolicy(), {"generation_steps": step}, record=folder.record())
    remember_finished(folder)
    return RunFolder(path=folder.path)


def completions(step: int) -> str:
    """The name of a file."""
    return f"completions/step-{step:06d}.parquet"


def checkpoint(run: RunFolder, step: int) -> Path:
    """A folder."""
    return run.path / "checkpoints" / f"step-{step:06d}"


def damage(file: Path) -> None:
    """One byte more."""
    file.write_bytes(file.read_bytes() + b"x")


def resumed(run: RunFolder, *, accept_damage: bool = False) -> int | None:
    """The step that a run goes on from."""
    saved = step_to_resume(run, accept_damage=accept_damage)
    return None if saved is None else saved.generation_steps


def test_a_whole_run_goes_on_from_its_newest_checkpoint_and_has_no_problem(run: RunFolder) -> None:
    assert problems_of_finished(run) == []
    assert resumed(run) == 6


def test_damaged_checkpoints_are_moved_aside_and_the_one_before_them_is_taken(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(checkpoint(run, 6) / "trainer_state.pt")
    (checkpoint(run, 4) / "hashes.json").unlink()
    assert len(problems_of_finished(run)) == 3  # hashes.json of step 4 is missed twice: by the run and by its checkpoint
    assert resumed(run) == 2
    assert sorted(path.name for path in (run.path / "damaged").iterdir()) == ["step-000004", "step-000006"]
    assert [saved.generation_steps for saved in saved_steps(run)] == [2]
    printed = capsys.readouterr().out
    assert "trainer_state.pt has" in printed and "step-000004/hashes.json is not there" in printed


def test_an_older_checkpoint_that_is_damaged_is_moved_aside_too(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    damage(checkpoint(run, 2) / "adapter_model.safetensors")
    assert resumed(run) == 6
    assert [saved.generation_steps for saved in saved_steps(run)] == [4, 6]
    assert "step-000002/adapter_model.safetensors has" in capsys.readouterr().out


def test_the_hashes_of_something_else_are_not_believed(run: RunFolder) -> None:
    copied = checkpoint(run, 4) / "hashes.json"
    for place, steps in ((run.path / "hashes.json", 6), (checkpoint(run, 6) / "hashes.json", 4)):
        place.write_bytes(copied.read_bytes())
        assert any("hashes.json is damaged (it is that of step-000004" in why for why in problems_of_finished(run))
        assert resumed(run) == steps


@pytest.mark.parametrize(("step", "expected"), [(6, 4), (5, 4), (4, 2), (3, 2)])
def test_a_damaged_record_sends_the_run_back_to_the_checkpoint_before_it(run: RunFolder, step: int, expected: int) -> None:
    damage(run.path / completions(step))
    assert resumed(run) == expected
    assert [saved.generation_steps for saved in saved_steps(run)] == [2, 4, 6]  # they are whole


def test_without_a_checkpoint_before_the_damage_a_run_is_refused_unless_the_loss_is_accepted(run: RunFolder) -> None:
    damage(run.path / completions(1))
    with pytest.raises(ValueError, match=r"(?s)cannot go on.*step-000001\.parquet has .*checkpoint\.accept_damage=true"):
        step_to_resume(run, accept_damage=False)
    assert resumed(run, accept_damage=True) == 6


def test_where_no_checkpoint_is_whole_all_of_them_stay_where_they_are(run: RunFolder) -> None:
    for step in (2, 4, 6):
        damage(checkpoint(run, step) / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"(?s)adapter_model\.safetensors has .*remove the folder"):
        step_to_resume(run, accept_damage=True)
    assert len(saved_steps(run)) == 3 and choose(run).saved is None


def test_a_run_whose_checkpoints_are_gone_does_not_silently_begin_anew(run: RunFolder) -> None:
    for step in (2, 4, 6):
        checkpoint(run, step).rename(run.path / f"kept-elsewhere-{step}")
    with pytest.raises(ValueError, match=r"holds no checkpoint, though metrics\.jsonl has 6 generation steps"):
        step_to_resume(run, accept_damage=False)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    folder = RunFolder(path=tmp_path)
    folder.write_manifest({"config": {"checkpoint": {"every": 2}}})
    for step in (1, 2):
        folder.append("metrics.jsonl", {"event": "train", "generation_steps": step})
    assert resumed(folder) is None


def test_a_later_start_says_anew_how_often_there_is_a_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(path=tmp_path)
    later = {"changed": {"config.checkpoint.every": {"before": 2, "now": 9}}}
    for history, is_refused in (([], True), ([{"changed": {}}, later, {"changed": {}}], False)):
        folder.write_manifest({"config": {"checkpoint": {"every": 2}}, "history": history})
        folder.append("metrics.jsonl", {"event": "train", "generation_steps": 4})
        with pytest.raises(ValueError, match="holds no checkpoint") if is_refused else contextlib.nullcontext():
            assert step_to_resume(folder, accept_damage=False) is None


def test_folders_of_other_names_are_no_checkpoints(run: RunFolder) -> None:
    for name in ("step-000008.tmp", "step-000006 copy", "step-7x", "step-"):
        (run.path / "checkpoints" / name).mkdir()
    (run.path / "checkpoints" / "step-000009").touch()
    assert [saved.generation_steps for saved in saved_steps(run)] == [2, 4, 6]


def test_a_checkpoint_that_was_removed_from_a_finished_run_is_told_and_no_problem(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint(run, 4).rename(run.path / "elsewhere")
    assert problems_of_finished(run) == []
    assert "step-000004 was removed since this run was finished" in capsys.readouterr().out
