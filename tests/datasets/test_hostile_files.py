"""Files of rows that are none, tables with hostile cells and cards that ask for more than their set: told by name, never obeyed."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_data import SECRET, told
from own_files import embedded, png, write_hub_copy

from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.hub import HubSource, TableSource
from vlm_rl.datasets.jsonl import JsonlSource
from vlm_rl.datasets.line_table import LONGEST_LINE

COLUMNS = Columns(question="question", answer="answer", images="image")
NO_IMAGES = Columns(question="question", answer="answer", images=None)
REGULAR = "Put a regular file there, or name another one."


def with_hole(path: Path) -> None:
    """4 GB without a line end behind the first line."""
    path.write_bytes(b'{"question": "Q", "answer": "1"}\n')
    os.truncate(path, 2**32)


MAKE: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,  # nobody will ever write to it
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "packed": lambda path: path.write_bytes(gzip.compress(bytes(2**26))),  # 64 MB
    "binary": lambda path: path.write_bytes(b"\xff\xfe" + "{}".encode("utf-16-le")),
    "empty": Path.touch,
    "hole": with_hole,
    "long": lambda path: path.write_bytes(b'{"id": 1, "question": "' + b"x" * LONGEST_LINE + b'", "answer": "1"}\n'),
}


@pytest.mark.parametrize(
    ("kind", "message", "way_out"),
    [
        ("pipe", "is no file of rows but a pipe", REGULAR),
        ("folder", "is no file of rows but a folder", REGULAR),
        ("device", "is no file of rows but a pipe, a device", REGULAR),
        ("packed", "is no UTF-8 text", "It is compressed: gunzip it first."),
        ("binary", "is no UTF-8 text", "Save it as UTF-8."),
        ("empty", "holds no row", ""),
        pytest.param("hole", "line 2 is longer than", "put pictures into files", marks=pytest.mark.slow),
        pytest.param("long", "line 1 is longer than", "put pictures into files", marks=pytest.mark.slow),
    ],
)
def test_a_file_of_lines_that_is_none_is_told(data: Path, kind: str, message: str, way_out: str) -> None:
    MAKE[kind](data / "train.jsonl")
    (said,) = told(JsonlSource(folder=str(data), files={"train": "train.jsonl"}), data=data)
    assert said.startswith(f"{data}/train.jsonl")
    assert message in said
    assert way_out in said


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_of_a_table_that_is_none_is_told(data: Path, suffix: str) -> None:
    for kind in ("pipe", "folder", "device", "packed", "binary", "empty"):
        name = f"{kind}.{suffix}"
        MAKE[kind](data / name)
        (said,) = told(TableSource(folder=str(data), files={"train": name}, columns=NO_IMAGES), data=data)
        assert f"{data}/{name}" in said


def table(data: Path, **columns: Any) -> TableSource:
    """Parquet with one good row and a hostile one."""
    usual = {"question": ["Q", "Q"], "answer": ["1", "1"], "image": ["good.png", "good.png"]}
    pq.write_table(pa.table(usual | columns), data / "train.parquet")
    return TableSource(folder=str(data), files={"train": "train.parquet"}, columns=COLUMNS)


def structs(*paths: str | None) -> list[dict[str, Any]]:
    """Pictures as the hub keeps them, by their path only."""
    return [{"bytes": None, "path": path} for path in paths]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"answer": ["1", "\0"]}, "row 1: 'answer' holds the control character U+0000"),
        ({"question": ["Q", "a\x1b[2J"]}, "row 1: 'question' holds the control character U+001B"),
        ({"answer": pa.array([None, True])}, "row 1: 'answer' is true"),
        ({"answer": pa.array([1.0, float("nan")])}, "row 1: 'answer' is nan, which is no number"),
        ({"answer": pa.array([1.0, float("inf")])}, "row 1: 'answer' is inf, which is no number"),
        ({"answer": pa.array([["1"], ["2"]])}, "row 1: 'answer' is a list"),
        ({"answer": pa.array([b"1", b"\xff"])}, "row 1: 'answer' is a bytes"),
        ({"image": ["good.png", "../secret.png"]}, "row 1: image '../secret.png' leaves the folder"),
        ({"image": ["good.png", "/etc/passwd"]}, "row 1: image '/etc/passwd' leaves the folder"),
        ({"image": structs("good.png", "../secret.png")}, "row 1: image '../secret.png' leaves the folder"),
        ({"image": structs("good.png", "/proc/self/environ")}, "row 1: image '/proc/self/environ' leaves the folder"),
        ({"image": structs("good.png", "http://127.0.0.1:9/a.png")}, "is not there. Restore the file or drop the row"),
        ({"image": [*embedded(png()), *embedded(b"%!PS-Adobe-3.0 EPSF-3.0\n")]}, "row 1, 'image' cannot be read: it is no"),
        ({"image": [embedded(png()), embedded(png(), b"garbage")]}, "row 1, 'image' 2 cannot be read: it is no"),
        ({"answer": ["1", None]}, "row 1 has no 'answer'"),
    ],
)
def test_a_hostile_cell_is_told_by_its_row(data: Path, columns: dict[str, Any], message: str) -> None:
    said = told(table(data, **columns), data=data)
    assert message in said[-1]
    assert SECRET not in said[-1]


def test_a_table_that_is_cut_off_is_told(data: Path) -> None:
    source = table(data)
    (data / "train.parquet").write_bytes((data / "train.parquet").read_bytes()[:-20])
    (said,) = told(source, data=data)
    assert f"{data}/train.parquet cannot be opened" in said
    assert "Write the file again" in said


def test_a_csv_file_holds_texts_and_its_control_characters_are_told(data: Path) -> None:
    (data / "train.csv").write_text("question,answer\n=cmd|' /C calc'!A0,true\n@SUM(1),007\nQ,1\0\nQ,\x1b]0;x\x07\n")
    zero, escape = told(TableSource(folder=str(data), files={"train": "train.csv"}, columns=NO_IMAGES), data=data)
    assert "train.csv, row 2: 'answer' holds the control character U+0000" in zero
    assert "train.csv, row 3: 'answer' holds the control character U+001B" in escape


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("x: !!python/object/apply:os.system ['touch canary']", "cannot be opened"),
        ("configs: !!python/object/new:subprocess.Popen [['touch', 'canary']]", "cannot be opened"),
        ("configs:\n- config_name: default\n  data_files: ../secret.txt", "which it is not. Only files of the set itself"),
        ("configs:\n- config_name: default\n  data_files: /etc/passwd", "cannot be opened"),
        ("configs:\n- config_name: default\n  data_files: zip://a::../x.zip", "names files inside of other files by '::'"),
        ("configs: [[[", "cannot be opened"),
    ],
)
def test_a_hostile_card_is_told(data: Path, card: str, message: str) -> None:
    write_hub_copy(data, {"train": [{"problem": "Q", "answer": "1", "images": []}]})
    (data / "README.md").write_text(f"---\n{card}\n---\n")
    (said,) = told(hub(data), data=data)
    assert str(data) in said
    assert message in said
    assert SECRET not in said


@pytest.mark.parametrize("name", ["README.md", "data/train-00000-of-00002.parquet"])
def test_a_pipe_in_a_copy_of_a_set_does_not_stop_the_scan_for_ever(data: Path, name: str) -> None:
    write_hub_copy(data, {"train": [{"problem": "Q", "answer": "1", "images": []}]})
    os.mkfifo(data / name)
    said = told(hub(data), data=data)
    assert said == [] or f"{data / name} is no file of rows but a pipe" in said[0]


def test_a_script_beside_the_rows_is_not_run(data: Path) -> None:
    write_hub_copy(data, {"train": [{"problem": "Q", "answer": "1", "images": []}]})
    (data / "data.py").write_text(f"open({str(data.parent / 'canary')!r}, 'w')")
    (data / "data_infos.json").write_text("{}")
    told(hub(data), data=data)


def hub(data: Path) -> HubSource:
    """The copy as a set."""
    columns = Columns(question="problem", answer="answer", images="images")
    return HubSource(path=str(data), splits={"train": "train"}, columns=columns)
