"""Pictures in base64, as VLMEvalKit's files have them: in cells of TSV and CSV files, of Parquet, and in lines of JSON."""

import base64
import io
import itertools
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_data import told
from own_files import png, png_of_size
from PIL import Image
from row_files import KINDS, TYPED, shades, source_of

from vlm_rl.datasets import hub
from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.dataset import Source
from vlm_rl.datasets.hub import TableSource
from vlm_rl.datasets.picture import Picture
from vlm_rl.datasets.written_picture import LONGEST_NAME, is_picture, names_in, spans_of

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
COLUMNS = Columns(question="question", answer="answer", images="image")


def noisy(shade: int, *, side: int = 60) -> bytes:
    """A PNG of more than 5 kB that begins with a pixel of a colour."""
    picture = Image.frombytes("RGB", (side, side), random.Random(shade).randbytes(side * side * 3))
    picture.putpixel((0, 0), (shade, 0, 0))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def text(content: bytes) -> str:
    """As VLMEvalKit writes it."""
    return base64.b64encode(content).decode()


def source(folder: Path, kind: str, cells: Sequence[Any]) -> Source:
    """A row for each cell; in TSV and CSV files a list is what Python prints."""
    items = [{"index": i, "image": cell, "question": f"Q{i}", "answer": "1"} for i, cell in enumerate(cells)]
    return source_of(folder, kind, items, columns=COLUMNS)


def parquet(folder: Path, cells: Sequence[Any], kind: pa.DataType | None) -> Source:
    """A column of some type in groups of two rows."""
    table = {"image": pa.array(cells, kind), "question": ["Q"] * len(cells), "answer": ["1"] * len(cells)}
    pq.write_table(pa.table(table), folder / "train.parquet", row_group_size=2)
    return TableSource(folder=str(folder), files={"train": "train.parquet"}, columns=COLUMNS)


CELLS = ("tsv", "parquet", "jsonl")  # CSV is read as TSV is, with another separator
ADDRESS = "data:image/png;base64,"
WRITINGS: dict[str, Callable[[bytes], str]] = {
    "plain": text,
    "address": lambda content: ADDRESS + text(content),
    "address in capitals": lambda content: "DATA:image/PNG;charset=utf-8;BASE64," + text(content),
    "in lines": lambda content: base64.encodebytes(content).decode(),
    "without padding": lambda content: text(content).rstrip("="),
    "for addresses": lambda content: base64.urlsafe_b64encode(content).decode(),
    "blanks around": lambda content: f" {text(content)}\n",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [png, noisy], ids=["short", "long"])
def test_a_picture_in_base64_is_a_picture(tmp_path: Path, kind: str, content: Callable[[int], bytes]) -> None:
    cells = [write(content(shade)) for shade, write in enumerate(WRITINGS.values())]
    assert all((len(cell) > LONGEST_NAME) == (content is noisy) for cell in cells)
    rows = source(tmp_path, kind, cells).rows("train")
    assert [shades(row) for row in rows] == [[shade] for shade in range(len(WRITINGS))]
    assert all(row.question.startswith("<image>Q") for row in rows)


def test_every_format_is_known_by_its_beginning(tmp_path: Path) -> None:
    cells = []
    for kind, side in itertools.product(("JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"), (1, 90)):
        file = io.BytesIO()
        Image.frombytes("L", (side, side), random.Random(0).randbytes(side * side)).save(file, kind)
        cells.append(text(file.getvalue()))
    pictures = [row.images[0].load() for row in source(tmp_path, "jsonl", cells).rows("train")]
    assert [(picture.size, picture.mode) for picture in pictures] == [((1, 1), "RGB"), ((90, 90), "RGB")] * 7


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("content", [png, noisy], ids=["short", "long"])
def test_a_list_in_one_cell_is_several_pictures(tmp_path: Path, kind: str, content: Callable[[int], bytes]) -> None:
    pair = [text(content(1)), ADDRESS + text(content(2))]
    cells = [str(pair), json.dumps(pair), f"['{pair[0]}' '{pair[1]}']", f"[{text(content(3))!r}]", "[]"]
    rows = source(tmp_path, kind, cells).rows("train")
    assert [shades(row) for row in rows] == [[1, 2], [1, 2], [1, 2], [3], []]
    assert rows[0].question.startswith("<image><image>Q")


@pytest.mark.parametrize("kind", TYPED)
def test_a_list_of_texts_is_several_pictures(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.png").write_bytes(png(3))
    rows = source(tmp_path, kind, [[text(noisy(1)), text(png(2)), "a.png"], [], [text(noisy(4))]]).rows("train")
    assert [shades(row) for row in rows] == [[1, 2, 3], [], [4]]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.large_list(pa.string()), pa.list_(pa.large_string(), 1)], ids=str)
def test_every_kind_of_column_of_texts_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    cells = [text(noisy(1)), text(png(2)), text(noisy(3))]
    given = cells if pa.types.is_large_string(kind) else [[cell] for cell in cells]
    assert [shades(row) for row in parquet(tmp_path, given, kind).rows("train")] == [[1], [2], [3]]


def test_a_path_of_the_hubs_structs_may_be_base64_too(tmp_path: Path) -> None:
    cells = [{"bytes": None, "path": text(noisy(1))}, {"bytes": png(2), "path": "x"}, {"bytes": None, "path": text(png(3))}]
    assert [shades(row) for row in parquet(tmp_path, cells, None).rows("train")] == [[1], [2], [3]]


def test_names_of_files_may_stand_as_a_list_in_one_cell(tmp_path: Path) -> None:
    for shade in (1, 2):
        (tmp_path / f"ä{shade}.png").write_bytes(png(shade))
    rows = source(tmp_path, "tsv", ["['ä1.png', 'ä2.png']", '["ä2.png"]', "ä1.png"]).rows("train")
    assert [shades(row) for row in rows] == [[1, 2], [2], [1]]


def test_a_row_may_name_the_row_whose_picture_it_shares(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(png(3))
    rows = source(tmp_path, "tsv", [text(noisy(1)), text(noisy(2)), "0", "1", "0", "b"]).rows("train")
    assert [shades(row) for row in rows] == [[1], [2], [1], [2], [1], [3]]
    assert rows[2].images == rows[0].images


def test_a_file_of_that_name_comes_first(tmp_path: Path) -> None:
    name = next(name for width in range(1, 99) if "/" not in (name := text(png(1, size=(width, 1)))))
    assert is_picture(name.encode())
    assert len(name) <= 255
    (tmp_path / name).write_bytes(png(9))
    for kind in CELLS:
        (row,) = source(tmp_path, kind, [name]).rows("train")
        assert shades(row) == [9]


@pytest.mark.parametrize(
    "name", ["a.png", "images/1.jpg", "iVBORw0KGgo.png", "Qk1abc", "deadbeef" * 8, "R0lG", "SUkq", "0", "/9j"]
)
def test_names_are_no_pictures(name: str) -> None:
    assert not is_picture(name.encode())
    assert spans_of(name.encode()) == []
    assert names_in(name) == [name]


@pytest.mark.parametrize("value", ["[", "[1]", "[a.png, b.png]", "['a", "['a'] b", "x['a']", None, 7])
def test_what_only_looks_like_a_list_stays_as_it_is(value: object) -> None:
    assert names_in(value) == [value]


def test_a_hostile_list_takes_no_long_time() -> None:
    for hostile in ("[" + "'a' " * 200_000, "[" + " " * 400_000, "['" + "a" * 400_000, "[" + "'a' ,  " * 100_000 + "x]"):
        assert names_in(hostile) == [hostile]


@pytest.mark.slow
@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_of_two_million_letters_is_no_trouble(tmp_path: Path, kind: str) -> None:
    content = noisy(3, side=720)
    assert len(text(content)) > 2_000_000
    rows = source(tmp_path, kind, [text(content), text(noisy(4))]).rows("train")
    assert [row.images[0].size for row in rows] == [(720, 720), (60, 60)]
    assert shades(rows[0]) == [3]


def test_a_large_file_is_read_some_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "LARGEST_PART", 60_000)
    made = source(tmp_path, "tsv", [text(noisy(shade)) for shade in range(20)])  # 15 kB each
    assert hub._rows_at_a_time([str(tmp_path / "train.tsv")]) == {"chunksize": 4}
    assert [shades(row) for row in made.rows("train")] == [[shade] for shade in range(20)]


@pytest.mark.parametrize("kind", CELLS)
def test_the_text_is_not_kept_and_the_picture_is_known_by_its_bytes(tmp_path: Path, kind: str) -> None:
    rows = source(tmp_path, kind, [text(noisy(1)), ADDRESS + text(noisy(1)), text(noisy(2))]).rows("train")
    pictures = [row.images[0] for row in rows]
    assert pictures[0].key == pictures[1].key != pictures[2].key
    assert rows[0].images[0] is pictures[0]  # so that it is not hashed again
    assert isinstance(pictures[0], Picture)
    assert len(repr(pictures[0])) < 1000
    assert rows[0].fields.keys() <= {"index"}


CUT = text(noisy(1))[:9_001]
DAMAGED = text(noisy(1))[:8_000] + "é!" + text(noisy(1))[8_002:]
HOSTILE = {
    "cut off": (CUT, "cannot be read: its base64 is damaged"),
    "cut off at a byte": (CUT[:9_000], "cannot be read: "),
    "other letters": (DAMAGED, "cannot be read: its base64 is damaged"),
    "a bomb": (text(png_of_size(60_000, 60_000) + bytes(9_000)), "Pillow takes it for a decompression bomb"),
    "too many pixels": (
        text(png_of_size(12_000, 12_000)),
        "its 12000 x 12000 pixels are more than dataset.source.largest_image",
    ),
    "too many pixels in an address": (
        ADDRESS + text(png_of_size(12_000, 12_000) + bytes(9_000)),
        "dataset.source.largest_image",
    ),
    "a vector": (
        ADDRESS.replace("png", "svg+xml") + text(b"<svg>" + bytes(9_000)),
        "no picture in base64 in one of the formats",
    ),
    "postscript": (text(b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(9_000)), "is too long for the name of a file"),
    "a text": ("word " * 9_000, "is too long for the name of a file"),
    "garbage": (text(bytes(9_000)), "is too long for the name of a file"),
    "a long list": (str(["x" * 5_000, text(noisy(1))]), "is too long for the name of a file"),
    "a long part": ("x" * 300 + ".png", "is too long for the name of a file"),
    "an address without base64": ("data:image/png,%89PNG", "is not there"),
}


@pytest.mark.parametrize("kind", CELLS)
def test_a_hostile_text_is_told_in_a_few_words(data: Path, kind: str) -> None:
    """A text that is no picture is found with its row, another one when it is opened."""
    cells = [text(png()), *(cell for cell, _ in HOSTILE.values()), text(noisy(2))]
    columns = Columns(question="question", answer="answer", images="image", id="index")
    problems = told(source_of(data, kind, [{"index": i, "image": cell, "question": "Q", "answer": "1"} for i, cell in enumerate(cells)],
                              columns=columns), data=data)  # fmt: skip
    assert len(problems) == len(HOSTILE)
    for message in (message for _, message in HOSTILE.values()):
        (found, *_) = (problem for problem in problems if message in problem)
        problems.remove(found)
        assert len(found) < 500 + len(str(data))
