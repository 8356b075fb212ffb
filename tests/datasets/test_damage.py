"""Every kind of damage in every format gives its message: which row or picture, and what is wrong with it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from own_files import embedded, png, png_of_size, write_authors, write_hub_copy, write_image_folder

from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.dataset import Source
from vlm_rl.datasets.hub import HubSource
from vlm_rl.datasets.jsonl import JsonlSource
from vlm_rl.datasets.row import LazyRows

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
PICTURES = {
    "garbage": bytes(range(256)),
    "truncated": png(size=(400, 300))[:150],
    "bomb": png_of_size(12_000, 12_000),
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x93\x94.",
}
Make = Callable[[Path, Mapping[str, Any]], Source]


def authors(folder: Path, row: Mapping[str, Any]) -> Source:
    """The authors' JSONL with one row; `image` is a name."""
    item = {"id": 1, "question": "<image>Q", "answer": "1", "image": "good.png", **row}
    write_authors(folder, {"train": [item]}, pictures=files())
    return JsonlSource(folder=str(folder), files={"train": "train.jsonl"})


def image_folder(folder: Path, row: Mapping[str, Any]) -> Source:
    """A folder of pictures with one row."""
    item = {"question": "Q", "answer": "1", "file_name": "good.png", **row}
    if "image" in row:
        item["file_name"] = item.pop("image")
    write_image_folder(folder, {"train": [item]}, pictures=files())
    columns = Columns(question="question", answer="answer", images=["file_name", "file_names"])
    return JsonlSource(folder=str(folder), files={"train": "train/metadata.jsonl"}, columns=columns)


def hub(folder: Path, row: Mapping[str, Any]) -> Source:
    """Parquet with embedded pictures; a name stands for the bytes of that file, where there is one."""
    name = row.get("image", "good.png")
    content = files().get(str(name))
    images = embedded(content) if content is not None else [{"bytes": None, "path": name}]
    item = {"problem": row.get("question", "Q"), "answer": row.get("answer", "1"), "images": images}
    write_hub_copy(folder, {"train": [item]})
    columns = Columns(question="problem", answer="answer", images="images")
    return HubSource(path=str(folder), splits={"train": "train"}, columns=columns)


def files() -> dict[str, bytes]:
    """A good picture and the bad ones."""
    return {"good.png": png()} | {f"{name}.png": content for name, content in PICTURES.items()}


def told(source: Source) -> str:
    """What is said of the only row: while it is made, or when its picture is opened."""
    rows = source.rows("train")
    assert isinstance(rows, LazyRows)
    survey = rows.survey()
    if survey.problems:
        return survey.problems[0]
    try:
        [image.load() for image in rows[0].images]
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    return ""


WHERE = {
    authors: {"row": "train.jsonl, line 1", "picture": "{name}.png"},
    image_folder: {"row": "train/metadata.jsonl, line 1", "picture": "train/{name}.png"},
    hub: {"row": "split train, row 0", "picture": "split train, row 0, 'images' 1"},
}
CANNOT = "{picture} cannot be read: "


@pytest.mark.parametrize("make", [authors, image_folder, hub])
@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("good", {}, None),
        ("garbage", {"image": "garbage.png"}, CANNOT + "it is no picture in one of the formats"),
        ("pickle", {"image": "pickle.png"}, CANNOT + "it is no picture in one of the formats"),
        ("truncated", {"image": "truncated.png"}, CANNOT),
        ("bomb", {"image": "bomb.png"}, CANNOT + "its 12000 x 12000 pixels are more than dataset.source.largest_image"),
        ("missing", {"image": "missing.png"}, "missing.png"),
        ("outside", {"image": "../outside.png"}, "{row}: image '../outside.png' leaves the folder of the file"),
        ("absolute", {"image": "/etc/passwd"}, "{row}: image '/etc/passwd' leaves the folder of the file"),
        ("url", {"image": "file:///etc/passwd"}, "file:/etc/passwd"),  # a name like any other: there is no such file
        ("null answer", {"answer": None}, "{row} has no 'answer'"),
        ("null question", {"question": None}, "{row} has no "),
    ],
)
def test_damage_is_named(tmp_path: Path, make: Make, name: str, row: Mapping[str, Any], message: str | None) -> None:
    said = told(make(tmp_path, row))
    if message is None:
        assert said == ""
        return
    where = {key: text.format(name=name) for key, text in WHERE[make].items()}
    assert message.format(**where) in said


@pytest.mark.parametrize("make", [authors, image_folder])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": ["1"]}, "'answer' is a list, neither text nor a number"),
        ({"question": {"text": "Q"}}, "'question' is a dict, neither text nor a number"),
        ({"solution": ["x"]}, None),
        ({"image": 7}, "holds a int, neither a file name nor a picture"),
        ({"image": [None]}, "holds a NoneType, neither a file name nor a picture"),
        ({"image": "a\x00b.png"}, "leaves the folder of the file"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(tmp_path: Path, make: Make, row: Mapping[str, Any], message: str | None) -> None:
    """A table has one type for each column; lines of JSON have one for each value."""
    if message is None:
        message = (
            "'solution' is a list" if make is authors else ""
        )  # no column is named for it there: a field, and too long a one
    assert message in told(make(tmp_path, row))
