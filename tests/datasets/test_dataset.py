"""The part of a split that is used, the budget of its pictures, and rows that cannot be made."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from own_files import png, write_authors
from row_files import dataset_of

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.jsonl import JsonlSource
from vlm_rl.datasets.row import Row


class Levels:
    """Twelve rows: levels 0 to 3 in turn, kinds by halves, an image-free data set."""

    def rows(self, split: str) -> Sequence[Row]:
        return [
            Row(
                id=f"{split}-{i}",
                question="Q",
                answer=str(i),
                solution=None,
                images=(),
                kind="angle" if i < 6 else "length",
                fields={"level": str(i % 4)},
            )
            for i in range(12)
        ]


def dataset(source: Any = None, **settings: Any) -> Dataset:
    """The twelve rows, or others."""
    return dataset_of(source or Levels(), **settings)


def places(rows: Sequence[Row]) -> list[int]:
    """Which of the twelve."""
    return [int(row.answer) for row in rows]


def test_a_filter_keeps_rows_that_have_a_wanted_value_of_every_field() -> None:
    data = dataset(filter={"train": {"level": [1, 2], "kind": "length"}, "val": {"has_image": False}})
    assert places(data.train) == [6, 9, 10]  # of 6..11 those with i % 4 in {1, 2}
    assert len(data.split("val")) == len(data.split("test")) == 12
    selection = data.selection("train")
    assert selection is not None
    digest = hashlib.sha256(b"".join(i.to_bytes(8, "little") for i in (6, 9, 10))).hexdigest()
    assert (selection.num_dropped, selection.hash) == (9, digest[:16])
    assert data.selection("test") is None


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (
            {"levle": 1},
            r"dataset\.filter\.train\.levle: no row has a field 'levle'\. There are has_image, kind, level, modality\.",
        ),
        (
            {"level": [1, 7]},
            r"dataset\.filter\.train\.level: no row has '7'\. There are '0' \(3\), '1' \(3\), '2' \(3\), '3' \(3\)\.",
        ),
        ({"kind": "angle", "level": 3, "has_image": True}, r"has_image: no row has 'True'\. There are 'False' \(12\)\."),
    ],
)
def test_a_filter_that_cannot_be_meant_is_told_with_what_there_is(wanted: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        dataset(filter={"train": wanted}).split("train")


def test_a_filter_that_leaves_nothing_is_an_error() -> None:
    class OneEach(Levels):
        def rows(self, split: str) -> Sequence[Row]:
            return [row for row in super().rows(split) if (row.kind == "angle") == (row.fields["level"] == "0")]

    with pytest.raises(ValueError, match=r"dataset\.filter\.train leaves none of 7 rows"):
        dataset(OneEach(), filter={"train": {"kind": "length", "level": 0}}).split("train")


def test_a_subset_is_drawn_by_its_own_seed_in_order_and_lies_in_a_larger_one() -> None:
    drawn = {size: places(dataset(subset={"train": size}).train) for size in (3, 6, 12)}
    assert [len(rows) for rows in drawn.values()] == [3, 6, 12]
    assert set(drawn[3]) < set(drawn[6]) < set(drawn[12])
    assert all(rows == sorted(rows) for rows in drawn.values())
    assert places(dataset(subset={"train": 6}).train) == drawn[6] != list(range(6))
    assert places(dataset(subset={"train": 6}, subset_seed=1).train) != drawn[6]
    filtered = places(dataset(filter={"train": {"kind": "length"}}, subset={"train": 5}).train)
    assert len(filtered) == 5
    assert min(filtered) >= 6


@pytest.mark.parametrize("size", [0, 13])
def test_a_subset_that_cannot_be_drawn_is_an_error(size: int) -> None:
    with pytest.raises(ValueError, match=rf"dataset\.subset\.val={size}: between 1 and the 12 rows"):
        dataset(subset={"val": size}).split("val")


@pytest.mark.parametrize("key", ["filter", "subset"])
def test_a_split_that_does_not_exist_is_an_error(key: str) -> None:
    with pytest.raises(ValueError, match=rf"dataset\.{key} names trian; the splits are train, val, test"):
        dataset(**{key: {"trian": None}})


def test_the_pictures_of_a_row_are_within_the_budget_and_measured_so(tmp_path: Path) -> None:
    item = {"id": 1, "question": "Q", "answer": 1, "image": ["a.png", "b.png"]}
    write_authors(tmp_path, {"train": [item]}, pictures={"a.png": png(size=(200, 100)), "b.png": png(size=(10, 10))})
    data = dataset(JsonlSource(folder=str(tmp_path), files={"train": "train.jsonl"}), max_pixels=5_000)
    (row,) = data.train
    assert data.picture_sizes(row) == [(100, 50), (10, 10)]
    assert [picture.size for picture in data.pictures(row)] == [(100, 50), (10, 10)]
    with pytest.raises(ValueError, match=r"dataset\.max_pixels=0 leaves no picture"):
        dataset(max_pixels=0)


def with_bad_lines(folder: Path, *, bad: int) -> JsonlSource:
    """Two good rows and some lines that are none."""
    good = [json.dumps({"id": i, "question": "Q", "answer": str(i)}) for i in range(2)]
    (folder / "train.jsonl").write_text("\n".join([good[0], *["{"] * bad, good[1]]))
    return JsonlSource(folder=str(folder), files={"train": "train.jsonl"})


def test_rows_that_cannot_be_made_are_all_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="12 of 14 rows") as caught:
        dataset(with_bad_lines(tmp_path, bad=12)).split("train")
    lines = str(caught.value).splitlines()
    assert lines[0] == "12 of 14 rows of split 'train' cannot be read:"
    assert lines[1].startswith(f"  {tmp_path}/train.jsonl, line 2 is no JSON")
    assert lines[10:] == [
        lines[10],
        "  and 2 more",
        "Mend them, or leave them out by dataset.on_bad_row=skip.",
    ]


def test_rows_that_cannot_be_made_may_be_left_out_and_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = dataset(with_bad_lines(tmp_path, bad=3), on_bad_row="skip")
    assert [row.id for row in data.train] == ["0", "1"]
    assert "3 of 5 rows of split 'train' cannot be read and are left out:" in capsys.readouterr().out
