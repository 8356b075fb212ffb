"""An export takes the place of an earlier one and of nothing else."""

import json
from pathlib import Path

import pytest

from vlm_rl.commands.export_folder import RECORD, hashes, whole, write_record


def exported(folder: Path, *, text: str) -> Path:
    """An export with one file of weights in a folder, and a card."""
    with whole(folder) as unfinished:
        (unfinished / "part").mkdir()
        (unfinished / "part" / "weights").write_text(text)
        (unfinished / "README.md").write_text("card")
        write_record(unfinished, {"run": {}})
    return folder


def test_an_export_that_nobody_touched_is_replaced(tmp_path: Path) -> None:
    folder = exported(tmp_path / "mine", text="first")
    (folder / "README.md").unlink()  # what is gone cannot be lost
    assert (exported(folder, text="second") / "part" / "weights").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    files = json.loads((folder / RECORD).read_text())["files"]
    assert files.keys() == {"README.md", "part/weights"}
    assert files["part/weights"] == "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4"  # sha256sum of "second"


@pytest.mark.parametrize("name", ["my_notes.txt", "README.md", "part/weights", "part/more", ".git/HEAD"])
def test_a_file_that_was_added_or_edited_stops_the_next_export_which_names_it(tmp_path: Path, name: str) -> None:
    folder = exported(tmp_path / "mine", text="first")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("years of work")
    before = hashes(folder)
    with pytest.raises(ValueError, match=f"added or edited since: {name}. They would be lost"):
        exported(folder, text="second")
    assert hashes(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_file_that_is_added_while_the_next_export_is_made_is_kept_too(tmp_path: Path) -> None:
    folder = exported(tmp_path / "mine", text="first")
    with pytest.raises(ValueError, match=r"my_notes\.txt"), whole(folder):
        (folder / "my_notes.txt").write_text("years of work")
    assert (folder / "my_notes.txt").exists()


def test_a_link_to_a_file_elsewhere_is_nothing_that_an_export_made(tmp_path: Path) -> None:
    folder = exported(tmp_path / "mine", text="first")
    (folder / "data").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="since: data"):
        exported(folder, text="second")


@pytest.mark.parametrize("record", ['{"run": {}}', "[]", "no JSON", '{"files": ["README.md"]}'])
def test_a_folder_without_hashes_on_record_is_left_alone(tmp_path: Path, record: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / RECORD).write_text(record)
    with pytest.raises(ValueError, match="holds something else than an earlier export"):
        exported(tmp_path / "mine", text="second")
    assert (tmp_path / "mine" / RECORD).read_text() == record


def test_a_linked_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "big_disk").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "big_disk")
    exported(exported(tmp_path / "mine", text="first"), text="second")
    assert (tmp_path / "mine").is_symlink()
    assert (tmp_path / "big_disk" / "part" / "weights").read_text() == "second"
