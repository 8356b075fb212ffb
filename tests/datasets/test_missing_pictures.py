"""A picture that is not there: what is there instead is named, and the advice works as it is typed."""

import io
import os
import shlex
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hostile_data import told
from own_files import png, write_lines, write_pictures
from row_files import TYPED, shades, source_of

from vlm_rl.datasets import missing
from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.hub import HubSource, TableSource
from vlm_rl.datasets.jsonl import JsonlSource
from vlm_rl.datasets.missing import hint

COLUMNS = Columns(question="question", answer="answer", images="image")
GONE = "is not there. Restore the file or drop the row."
NFC, NFD = (unicodedata.normalize(form, "Größe é.png") for form in ("NFC", "NFD"))


MEANT = [  # the file that is there, and the name in the row
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
]


def test_the_file_that_was_meant_is_named(tmp_path: Path) -> None:
    for number, (there, asked) in enumerate(MEANT):
        folder = tmp_path / str(number)
        write_pictures(folder, {there: png(), "other/b.png": png()})
        assert f" There is {there!r}" in hint(folder / asked, folder=folder)


def test_another_unicode_form_is_called_so_since_it_looks_the_same(tmp_path: Path) -> None:
    write_pictures(tmp_path, {NFD: png()})
    assert "in another Unicode form" in hint(tmp_path / NFC, folder=tmp_path)
    assert "Unicode" not in hint(tmp_path / NFC.upper(), folder=tmp_path)


def test_nothing_is_named_where_nothing_is_alike(tmp_path: Path) -> None:
    write_pictures(tmp_path, {"images/a.png": png()})
    for asked in ("images/b.png", "x.png", "http://127.0.0.1:9/x.png", "|touch canary", "images", "a.txt", "~/a"):
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
    pictures = {f"images/{i}.png": png(i) for i in range(2)}
    if archive.endswith(".zip"):
        with zipfile.ZipFile(folder / archive, "w") as file:
            for name, content in pictures.items():
                file.writestr(name, content)
        return
    with tarfile.open(folder / archive, "w:gz" if archive.endswith("gz") else "w") as tar:
        for name, content in pictures.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def write_rows(folder: Path, kind: str) -> None:
    """Two rows whose pictures are in an archive."""
    items = [{"question": f"Q{i}", "answer": "1", "image": f"images/{i}.png"} for i in range(2)]
    source_of(folder, kind, items)


def hub(folder: Path) -> HubSource:
    """The folder as a set."""
    return HubSource(path=str(folder), splits={"train": "train"}, columns=COLUMNS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("archives", "kind"),
    [
        (["a.zip", "b.zip", "c.zip"], "parquet"),
        (["images.tar"], "jsonl"),
        (["images.tar.gz"], "csv"),
        (["images.tgz"], "jsonl"),
    ],
)
def test_archives_beside_the_rows_are_told_and_the_command_works(data: Path, archives: list[str], kind: str) -> None:
    (data / "good.png").unlink()
    for archive in archives:
        pack(data, archive)
    write_rows(data, kind)
    said = told(hub(data), data=data)
    assert len(said) == 2
    assert all(GONE in each for each in said)
    command = said[0].partition("unpack it: ")[2]
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    subprocess.run(words, check=True)
    again = hub(data)  # now the folder holds pictures, too
    assert [shades(row) for row in again.rows("train")] == [[0], [1]]


@pytest.mark.parametrize("kind", TYPED)
def test_the_same_is_told_by_the_other_sources(data: Path, kind: str) -> None:
    pack(data, "images.zip")
    write_rows(data, kind)
    source = JsonlSource if kind == "jsonl" else TableSource
    said = told(source(folder=str(data), files={"train": f"train.{kind}"}, columns=COLUMNS), data=data)
    assert said[0].endswith(f"unpack it: python -m zipfile -e {data}/images.zip {data}")


@pytest.mark.parametrize("archive", ["images.zip", "images.tar"])
def test_archives_alone_have_no_rows(data: Path, archive: str) -> None:
    (data / "good.png").unlink()
    pack(data, archive)
    (said,) = told(hub(data), data=data)
    assert f"Its files are archives ({archive}): if they hold pictures only, put a file of rows beside them" in said
