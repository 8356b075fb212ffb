"""A picture that is not there: what is there instead is named, and the advice works as it is typed."""

import json
import os
import shlex
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_data import told
from own_files import png, write_lines, write_pictures

from vlm_rl.datasets import missing
from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.dataset import Source
from vlm_rl.datasets.hub import HubSource, TableSource
from vlm_rl.datasets.jsonl import JsonlSource
from vlm_rl.datasets.missing import hint

COLUMNS = Columns(question="question", answer="answer", images="image")
GONE = "is not there. Restore the file or drop the row."
NFC, NFD = (unicodedata.normalize(form, "Größe é.png") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ("images/a.PNG", "images/a.png"),
        ("Images/A.png", "images/a.png"),
        ("images/a.jpg", "images/a.jpeg"),
        ("images/a.png", "images/a.jpg"),
        ("images/a.png", "images/a"),
        (f"images/{NFD}", f"images/{NFC}"),
        (f"images/{NFC}", f"images/{NFD}"),
        ("images/a.png", "images\\a.png"),
        ("images/deep/a.png", ".\\images\\deep\\a.png"),
        ("images/a.png", "images/images/a.png"),
        ("images/a.png", "a.png"),
        ("images/deep/a.png", "deep/a.png"),
        ("a.png", "images/a.png"),
        ("images/a.png", "data/images/a.png"),
        ("images/a.JPG", "IMAGES\\a.jpeg"),
    ],
)
def test_the_file_that_was_meant_is_named(tmp_path: Path, there: str, asked: str) -> None:
    write_pictures(tmp_path, {there: png(), "other/b.png": png()})
    assert f" There is {there!r}" in hint(tmp_path / asked, folder=tmp_path)


def test_another_unicode_form_is_called_so_since_it_looks_the_same(tmp_path: Path) -> None:
    write_pictures(tmp_path, {NFD: png()})
    assert "in another Unicode form" in hint(tmp_path / NFC, folder=tmp_path)
    assert "Unicode" not in hint(tmp_path / NFC.upper(), folder=tmp_path)


@pytest.mark.parametrize(
    "asked", ["images/b.png", "x.png", "http://127.0.0.1:9/x.png", "|touch canary", "images", "a.txt", "~/a"]
)
def test_nothing_is_named_where_nothing_is_alike(tmp_path: Path, asked: str) -> None:
    write_pictures(tmp_path, {"images/a.png": png()})
    assert hint(tmp_path / asked, folder=tmp_path) == ""
    assert hint(tmp_path / "images" / "A.png", folder=None) == ""
    assert hint(tmp_path.parent / "images" / "A.png", folder=tmp_path) == ""


def test_a_large_folder_is_read_once_for_all_its_missing_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    for i in range(500):
        (tmp_path / "images" / f"{i}.PNG").touch()
    calls: list[str] = []

    def counted(path: str) -> "os._ScandirIterator[str]":
        calls.append(path)
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr(missing.os, "scandir", counted)
    assert all(f"{i}.PNG" in hint(tmp_path / "images" / f"{i}.png", folder=tmp_path) for i in range(500))
    assert sorted(calls) == sorted(map(str, (tmp_path, tmp_path / "images")))


@pytest.mark.parametrize(
    ("content", "way_out"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        ("# xet version 0\n", "git xet pull"),
        ("/annex/objects/SHA256E-s1--0.png\n", "git annex get ."),
    ],
)
def test_a_pointer_is_told_with_how_to_fetch_its_file(data: Path, content: str, way_out: str) -> None:
    (data / "a.png").write_text(content)
    write_lines(data / "train.jsonl", [{"image": "a.png", "question": "Q", "answer": "1"}])
    (said,) = told(JsonlSource(folder=str(data), files={"train": "train.jsonl"}, columns=COLUMNS), data=data)
    assert f"{data}/a.png cannot be read: it is a pointer of" in said
    assert f"run `{way_out}`" in said
    for name in ("rows.jsonl", "rows.parquet", "rows.csv"):
        (data / name).write_text(content)
        kind = JsonlSource if name.endswith("jsonl") else TableSource
        (said,) = told(kind(folder=str(data), files={"train": name}, columns=COLUMNS), data=data)
        assert said.startswith(f"{data}/{name} holds no rows: it is a pointer of")
        assert f"`{way_out}`" in said


def pack(folder: Path, archive: str) -> None:
    """Two pictures."""
    if archive.endswith(".zip"):
        with zipfile.ZipFile(folder / archive, "w") as file:
            for i in range(2):
                file.writestr(f"images/{i}.png", png(i))
        return
    write_pictures(folder / "packed", {f"images/{i}.png": png(i) for i in range(2)})
    with tarfile.open(folder / archive, "w:gz" if archive.endswith("gz") else "w") as tar:
        tar.add(folder / "packed" / "images", arcname="images")
    for file_ in (folder / "packed" / "images").iterdir():
        file_.unlink()
    (folder / "packed" / "images").rmdir()
    (folder / "packed").rmdir()


def source(folder: Path, rows: str) -> Source:
    """Two rows whose pictures are in an archive, read by what reads such files."""
    items = [{"question": f"Q{i}", "answer": "1", "image": f"images/{i}.png"} for i in range(2)]
    (folder / rows).parent.mkdir(exist_ok=True)
    if rows.endswith(".parquet"):
        lists = [[item["image"]] for item in items]
        pq.write_table(pa.table({"question": ["Q0", "Q1"], "answer": ["1", "1"], "image": lists}), folder / rows)
    elif rows.endswith(".csv"):
        (folder / rows).write_text("question,answer,image\n" + "".join(",".join(item.values()) + "\n" for item in items))
    else:
        (folder / rows).write_text("".join(json.dumps(item) + "\n" for item in items))
    return HubSource(path=str(folder), splits={"train": "train"}, columns=COLUMNS)


@pytest.mark.parametrize(
    "archives", [["images.zip"], ["a.zip", "b.zip", "c.zip"], ["images.tar"], ["images.tar.gz"], ["images.tgz"]]
)
@pytest.mark.parametrize("rows", ["data.parquet", "train.parquet", "train.jsonl", "train.csv", "data/train-0.parquet"])
def test_archives_beside_the_rows_are_told_and_the_command_works(data: Path, archives: list[str], rows: str) -> None:
    (data / "good.png").unlink()
    for archive in archives:
        pack(data, archive)
    set_ = source(data, rows)
    said = told(set_, data=data)
    assert len(said) == 2
    assert all(GONE in each for each in said)
    command = said[0].partition("unpack it: ")[2]
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    subprocess.run(words, check=True)
    (pictures,) = {len(row.images) for row in set_.rows("train")}
    assert pictures == 1
    assert [row.images[0].load().getpixel((0, 0)) for row in set_.rows("train")] == [(0, 0, 0), (1, 0, 0)]
    again = HubSource(path=str(data), splits={"train": "train"}, columns=COLUMNS)  # now the folder holds pictures, too
    assert [row.images[0].size for row in again.rows("train")] == [(56, 28), (56, 28)]


@pytest.mark.parametrize("rows", ["train.jsonl", "train.parquet"])
def test_the_same_is_told_by_the_other_sources(data: Path, rows: str) -> None:
    pack(data, "images.zip")
    source(data, rows)
    kind = JsonlSource if rows.endswith("jsonl") else TableSource
    said = told(kind(folder=str(data), files={"train": rows}, columns=COLUMNS), data=data)
    assert said[0].endswith(f"unpack it: python -m zipfile -e {data}/images.zip {data}")


@pytest.mark.parametrize("archive", ["images.zip", "images.tar"])
def test_archives_alone_have_no_rows(data: Path, archive: str) -> None:
    (data / "good.png").unlink()
    pack(data, archive)
    (said,) = told(HubSource(path=str(data), splits={"train": "train"}, columns=COLUMNS), data=data)
    assert f"Its files are archives ({archive}): if they hold pictures only, put a file of rows beside them" in said
