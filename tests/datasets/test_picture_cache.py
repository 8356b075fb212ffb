"""What is remembered between runs, and what happens to it when several write or somebody tears it."""

import multiprocessing
from pathlib import Path

import pytest

from vlm_rl.datasets import picture_check as module
from vlm_rl.datasets.picture_check import Cache


def test_entries_are_there_for_the_next_process_and_stay_with_their_place(tmp_path: Path) -> None:
    Cache(folder=str(tmp_path)).add("here", {"a": 1})
    Cache(folder=str(tmp_path)).add("here", {"b": [2]})
    Cache(folder=str(tmp_path)).add("there", {"c": 3})
    assert Cache(folder=str(tmp_path)).read("here") == {"a": 1, "b": [2]}
    assert Cache(folder=str(tmp_path)).read("there") == {"c": 3}


def test_without_a_folder_nothing_is_remembered_and_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nowhere = Cache(folder=None)
    nowhere.add("here", {"a": 1})
    assert nowhere.read("here") == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("torn", ["", "[]", '{"place": "elsewhere", "entries": {"a": 1}}', '{"place": "here", "entries": 3}'])
def test_a_torn_file_counts_as_empty_and_is_written_anew(tmp_path: Path, torn: str) -> None:
    cache = Cache(folder=str(tmp_path))
    cache.add("here", {"a": 1})
    (file,) = tmp_path.rglob("*.json")
    file.write_text(torn)
    assert cache.read("here") == {}
    cache.add("here", {"b": 2})
    assert cache.read("here") == {"b": 2}


def test_a_folder_that_cannot_be_written_to_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(folder=str(tmp_path / "file"))
    cache.add("here", {"a": 1})
    assert cache.read("here") == {}


def write(folder: str, name: str) -> None:
    for i in range(50):
        Cache(folder=folder).add("here", {f"{name}-{i}": i})


def test_several_processes_leave_a_whole_file(tmp_path: Path) -> None:
    """Some of what they found may be lost, never the last thing that anybody wrote; what is there is right."""
    processes = [multiprocessing.get_context("fork").Process(target=write, args=(str(tmp_path), name)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    entries = Cache(folder=str(tmp_path)).read("here")
    assert {"a-49", "b-49", "c-49"} & entries.keys()
    assert all(value == int(name.split("-")[1]) for name, value in entries.items())
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_place_that_grew_too_large_keeps_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    cache = Cache(folder=str(tmp_path))
    cache.add("here", {"a": 1, "b": 2})
    cache.add("here", {"c": 3})
    assert len(cache.read("here")) == 3
    cache.add("here", {"d": 4})
    assert cache.read("here") == {"d": 4}
