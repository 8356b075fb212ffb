"""Files are whole or absent; what came after a checkpoint can be forgotten; what is no number becomes null."""

import errno
import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from vlm_rl.checksums import Hashes
from vlm_rl.durable_files import remove_leftovers, write_whole
from vlm_rl.run_folder import RunFolder


def flip(file: Path) -> None:
    """One bit of the byte in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.fixture
def records(tmp_path: Path) -> list[Hashes]:
    """What was recorded after each of four steps, evaluated after the second."""
    run, found = RunFolder(path=tmp_path / "seed-0"), []
    for step in (1, 2, 3, 4):
        run.append("metrics.jsonl", {"event": "train", "generation_steps": step, "policy/loss": 0.1 * step})
        run.write_table(f"completions/step-{step:06d}.parquet", pa.table({"row": [step]}))
        if step == 2:
            run.append("metrics.jsonl", {"event": "evaluation", "generation_steps": 2})
            run.write_table("evaluations/epoch-0001/val_x.parquet", pa.table({"row": [0]}))
            run.remember()
        found.append(run.record())
    return found


@pytest.fixture
def folder(tmp_path: Path, records: list[Hashes]) -> RunFolder:
    """The same folder in a later process."""
    assert len(records) == 4
    return RunFolder(path=tmp_path / "seed-0")


def test_cutting_back_keeps_the_bytes_of_what_is_kept(folder: RunFolder, records: list[Hashes]) -> None:
    before = (folder.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    folder.cut_back(records[1], generation_steps=2)
    assert (folder.path / "metrics.jsonl").read_text() == "".join(before[:3])
    assert sorted(file.name for file in (folder.path / "completions").iterdir()) == [
        "step-000001.parquet",
        "step-000002.parquet",
    ]
    assert folder.record() == records[1]


def test_an_evaluation_after_the_checkpoint_stays_known_where_it_is_whole(folder: RunFolder, records: list[Hashes]) -> None:
    folder.cut_back(records[0], generation_steps=1)
    name = "evaluations/epoch-0001/val_x.parquet"
    assert folder.whole_table(name) == pa.table({"row": [0]})
    flip(folder.path / name)
    assert folder.whole_table(name) is None


def test_lines_that_a_record_no_longer_fits_are_cut_by_their_steps(folder: RunFolder, records: list[Hashes]) -> None:
    """Where somebody goes on in spite of the damage."""
    file = folder.path / "metrics.jsonl"
    file.write_bytes(b"\xff" + file.read_bytes() + b'{"event": "train", "generation_st')
    folder.cut_back(records[2], generation_steps=3)
    assert [line["generation_steps"] for line in folder.lines("metrics.jsonl")] == [2, 2, 3]
    folder.append("metrics.jsonl", {"event": "train", "generation_steps": 4})
    assert [line["generation_steps"] for line in folder.lines("metrics.jsonl")] == [2, 2, 3, 4]


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:-3]), "is cut off"),
    "emptied": (lambda file: file.write_bytes(b""), "is cut off: it has 0 bytes"),
    "zeroed": (lambda file: file.write_bytes(bytes(file.stat().st_size)), "bytes have changed"),
    "flipped": (lambda file: flip(file), "bytes have changed"),
    "removed": (lambda file: file.unlink(), "is not there"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "is "),
}


@pytest.mark.parametrize("name", ["metrics.jsonl", "completions/step-000002.parquet", "evaluations/epoch-0001/val_x.parquet"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_of_a_record_is_named(folder: RunFolder, records: list[Hashes], name: str, damage: str) -> None:
    assert folder.damages(records[3]) == []
    change, message = DAMAGES[damage]
    change(folder.path / name)
    (found,) = folder.damages(records[3])
    assert str(folder.path / name) in found
    assert message in found


def test_lines_may_be_added_to_a_record_and_nothing_else(folder: RunFolder, records: list[Hashes]) -> None:
    folder.append("metrics.jsonl", {"generation_steps": 9})
    with (folder.path / "completions/step-000002.parquet").open("ab") as file:
        file.write(b"x")
    (found,) = folder.damages(records[3])
    assert "step-000002.parquet has" in found


def test_a_manifest_that_was_edited_is_told_with_the_way_out(folder: RunFolder) -> None:
    folder.write_manifest({"seed": 0, "arm": "abc", "numbers": {2: (1e-5, math.inf), 10: Path("a")}})
    assert folder.manifest == {"seed": 0, "arm": "abc", "numbers": {"2": [1e-5, math.inf], "10": "a"}}
    file = folder.path / "manifest.json"
    assert folder.changed_manifest() is None
    file.write_text(file.read_text().replace("abc", "abd"))
    message = folder.changed_manifest()
    assert message is not None
    assert "manifest.json was changed since" in message and "delete the line `sha256`" in message


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


def test_leftovers_of_dead_processes_are_removed_and_those_of_live_ones_stay_where_others_write(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    written: list[Path] = []
    write_whole(tmp_path / "inner" / "a.json", lambda file: (file.touch(), written.append(file)))
    live = written[0]
    dead = live.with_name(live.name.replace(f".{os.getpid()}.", f".{ended.pid}."))
    elsewhere = live.with_name(live.name.replace(f".{os.getpid()}.", f"-b.{ended.pid}."))
    for file in (live, dead, elsewhere):
        file.touch()
    remove_leftovers(tmp_path, is_shared=True)
    assert set((tmp_path / "inner").glob(".*.tmp")) == {live, elsewhere}
    remove_leftovers(tmp_path, is_shared=False)
    assert [file.name for file in (tmp_path / "inner").iterdir()] == ["a.json"]
