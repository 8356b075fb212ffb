"""The authors' JSONL format, and what is said about lines that are not in it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vlm_rl.datasets.jsonl import JsonlSource
from vlm_rl.datasets.row import Row

FILES = {split: f"{split}.jsonl" for split in ("train", "val", "test")}


def rows(folder: Path, text: str) -> list[Row]:
    """The rows of a training file with this text."""
    (folder / "train.jsonl").write_text(text, encoding="utf-8")
    return list(JsonlSource(folder=str(folder), files=FILES).rows("train"))


def line(**changes: object) -> str:
    """A good row, changed."""
    return json.dumps({"id": 1, "question": "Q", "answer": 4, **changes}, ensure_ascii=False) + "\n"


def test_a_row_may_have_no_one_or_many_images_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    Image.new("L", (4, 4)).save(tmp_path / "b" / "c.png")
    none, one, two = rows(tmp_path, line() + line(image="a.png") + line(image=["a.png", "b/c.png"]))
    assert (none.images, none.id, none.answer, none.solution) == ((), "1", "4", None)
    assert one.images[0].load().size == (3, 2)
    assert one.images[0].load().mode == "RGB"
    assert [image.path for image in two.images] == [tmp_path / "a.png", tmp_path / "b" / "c.png"]  # type: ignore[attr-defined]


def test_pictures_with_the_same_bytes_have_the_same_key(tmp_path: Path) -> None:
    for name, shade in (("a", 0), ("b", 0), ("c", 9)):
        Image.new("L", (3, 2), shade).save(tmp_path / f"{name}.png")
    a, b, c = (row.images[0].key for row in rows(tmp_path, "".join(line(image=f"{name}.png") for name in "abc")))
    assert a == b != c


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    assert [row.question for row in rows(tmp_path, line(question="a\u2028b") + "\n" + line())] == ["a\u2028b", "Q"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (line() + '{"id": 2,\n', r"train\.jsonl, line 2 is no JSON: .* at column"),
        (line() + "\n[1]\n", r"train\.jsonl, line 3 is no JSON object"),
        (line() + '{"id": 2, "question": "Q"}\n', r"train\.jsonl, line 2 has no 'answer'. A row needs question, answer, id"),
        (line(image="../a.png"), r"line 1: image '\.\./a\.png' leaves the folder"),
        (line(image="/etc/a.png"), r"line 1: image '/etc/a\.png' leaves the folder"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        rows(tmp_path, text)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"train\.jsonl is no UTF-8 text"):
        JsonlSource(folder=str(tmp_path), files=FILES).rows("train")


def test_a_missing_file_is_named_with_the_key_that_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"val\.jsonl is not there \(split 'val'\)\. dataset\.source\.folder must name"):
        JsonlSource(folder=str(tmp_path), files=FILES).rows("val")


def test_further_short_fields_of_a_row_are_kept_as_text_for_breakdowns(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, line(level=3, source="MATH", hard=True, notes="x" * 81, tags=["a"], kind="angles"))
    assert row.fields == {"level": "3", "source": "MATH", "hard": "True"}
    assert row.kind == "angles"
