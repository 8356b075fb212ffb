"""The model of a disk that loses its power, on a folder of which every look is written by hand."""

from pathlib import Path

import pytest
from disk import Entry, Kind, Look, Record, State, lost_checkpoints, not_synced, spoilt, states

TOP, RUN, CHECKPOINTS, STEP, OLD, NEW = range(1, 7)  # inodes
CONTENTS = {"old": b"old1\n", "new": b"old1\nnew2\n"}


class ByHand(Record):
    """A record without files."""

    def __init__(self, *looks: Look) -> None:
        self.looks = list(looks)

    def content(self, name: str) -> bytes:
        """By its name."""
        return CONTENTS.get(name, b"")


def look(synced: int | None = None, **files: tuple[int, str]) -> Look:
    """Files right in the recorded folder: inode and content."""
    folder = {"": Entry(kind="folder", inode=TOP, content="")}
    entries = {name: Entry(kind="file", inode=inode, content=content) for name, (inode, content) in files.items()}
    return Look(event="fsync" if synced else "open", about="", synced=synced, entries=folder | entries)


def last(record: Record, kind: Kind) -> dict[str, bytes | str | None]:
    """What is there after the last look."""
    return dict([state.files for state in states(record) if state.kind == kind][-1])


def test_what_was_there_at_the_start_is_on_the_disk() -> None:
    record = ByHand(look(a=(OLD, "old")))
    assert last(record, "gone") == last(record, "cut") == last(record, "torn") == {"a": b"old1\n"}
    assert not_synced(record) == []


def test_a_file_that_was_never_synced_is_gone_or_cut() -> None:
    record = ByHand(look(), look(a=(NEW, "old")), look(a=(NEW, "old")))
    assert last(record, "killed") == {"a": b"old1\n"}
    assert last(record, "gone") == {}
    assert last(record, "cut") == {"a": b"ol"}
    assert not_synced(record) == ["a"]


def test_a_file_whose_folder_was_not_synced_has_no_name() -> None:
    record = ByHand(look(), look(NEW, a=(NEW, "old")))
    assert last(record, "gone") == {}
    assert last(record, "cut") == {"a": b"old1\n"}


def test_a_name_without_its_data_is_an_empty_file() -> None:
    record = ByHand(look(), look(TOP, a=(NEW, "old")))
    assert last(record, "gone") == {"a": b""}


def test_lines_that_were_added_are_lost_and_those_before_them_are_not() -> None:
    record = ByHand(look(a=(OLD, "old")), look(a=(OLD, "new")), look(a=(OLD, "new")))
    assert last(record, "gone") == {"a": b"old1\n"}
    assert last(record, "cut") == {"a": b"old1\nne"}
    assert spoilt(b"old1\nnew2\n", certain=b"old1\n", zeros=True) == b"old1\n\0\0\0\0\0"


def test_a_rename_over_a_file_is_the_old_file_until_the_folder_is_synced() -> None:
    before, beside = look(a=(OLD, "old")), look(NEW, a=(OLD, "old"), b=(NEW, "new"))
    renamed = ByHand(before, beside, look(a=(NEW, "new")))
    assert last(renamed, "gone") == {"a": b"old1\n"}
    assert last(renamed, "torn") == {}  # the old name is gone, the new one has not come
    synced = ByHand(before, beside, look(TOP, a=(NEW, "new")))
    assert last(synced, "gone") == last(synced, "torn") == {"a": b"old1\nnew2\n"}


@pytest.mark.parametrize(("synced", "is_lost"), [((STEP, CHECKPOINTS), True), ((STEP, CHECKPOINTS, RUN, TOP), False)])
def test_a_checkpoint_is_lost_with_a_folder_above_it_that_was_not_synced(synced: tuple[int, ...], is_lost: bool) -> None:
    paths = {"": TOP, "run": RUN, "run/checkpoints": CHECKPOINTS, "run/checkpoints/step-000001": STEP}
    entries = {path: Entry(kind="folder", inode=inode, content="") for path, inode in paths.items()}
    looks = [Look(event="fsync", about="", synced=inode, entries=entries) for inode in reversed(synced)]
    found = lost_checkpoints(ByHand(look(), *looks))
    assert [sentence.split()[0] for sentence in found] == (["run/checkpoints/step-000001"] if is_lost else [])


def test_a_state_is_made_as_it_was_seen(tmp_path: Path) -> None:
    files = {"a": None, "a/b": b"x", "c": "a/b"}
    State(kind="killed", look=0, event="", files=files).make(tmp_path)
    assert (tmp_path / "a" / "b").read_bytes() == (tmp_path / "c").read_bytes() == b"x"
    assert (tmp_path / "c").is_symlink()
