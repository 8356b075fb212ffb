"""Files are whole or absent; what came after a checkpoint can be forgotten; what is no number becomes null."""

import errno
import json
from pathlib import Path

import pytest

from vlm_rl.run_folder import RunFolder, write_whole


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Three steps, evaluated after the second."""
    run = RunFolder(path=tmp_path / "seed-0")
    for step in (1, 2, 3):
        run.append("metrics.jsonl", {"event": "train", "generation_steps": step, "policy/loss": 0.1 * step})
        write_whole(run.path / "completions" / f"step-{step:06d}.parquet", lambda file: file.write_text("rows"))
        if step == 2:
            run.append("metrics.jsonl", {"event": "evaluation", "generation_steps": 2})
    return run


def test_cutting_back_keeps_the_bytes_of_what_is_kept(folder: RunFolder) -> None:
    before = (folder.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    folder.cut_back(2)
    assert (folder.path / "metrics.jsonl").read_text() == "".join(before[:3])
    assert sorted(file.name for file in (folder.path / "completions").iterdir()) == [
        "step-000001.parquet",
        "step-000002.parquet",
    ]


def test_a_half_written_last_line_is_no_line_and_is_cut_away(folder: RunFolder) -> None:
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "train", "generation_st')
    assert [line["generation_steps"] for line in folder.lines("metrics.jsonl")] == [1, 2, 2, 3]
    folder.cut_back(3)
    folder.append("metrics.jsonl", {"event": "train", "generation_steps": 4})
    assert [line["generation_steps"] for line in folder.lines("metrics.jsonl")] == [1, 2, 2, 3, 4]


def test_clearing_forgets_everything_but_the_manifest(folder: RunFolder) -> None:
    folder.write_manifest({"seed": 0})
    folder.clear()
    assert [file.name for file in folder.path.iterdir()] == ["manifest.json"]


def test_numbers_that_are_not_finite_become_null(folder: RunFolder) -> None:
    folder.append("alerts.jsonl", {"generation_steps": 1, "a": float("nan"), "b": float("inf"), "c": 1.5})
    assert json.loads((folder.path / "alerts.jsonl").read_text()) == {"generation_steps": 1, "a": None, "b": None, "c": 1.5}


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    write_whole(file, lambda path: path.write_text("old"))

    def fails(path: Path) -> None:
        path.write_text("ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_whole(file, fails)
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
