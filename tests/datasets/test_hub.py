"""Sets of the hub and tables of one's own, by their columns; written by `datasets` and pyarrow themselves."""

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own_files import embedded, png, write_hub_copy, write_image_folder
from row_files import shades

from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.hub import HubSource, TableSource

GEOMETRY3K = Columns(question="problem", answer="answer", images="images")
OWN = Columns(question="question", answer="answer", images="image")


def geometry3k(folder: Path, *, split: str = "train", **settings: str) -> HubSource:
    """A folder with a copy of a set like hiyouga/geometry3k."""
    items = {
        "train": [
            {"images": embedded(png(1)), "problem": "<image>Find x.", "answer": "3"},
            {"images": embedded(png(1), png(2, size=(30, 60))), "problem": "<image> or <image>?", "answer": r"2 \sqrt{221}"},
            {"images": [], "problem": "1 + 1?", "answer": "2"},
        ],
        "val": [{"images": embedded(png(3)), "problem": "Find y.", "answer": "4"}],
    }
    write_hub_copy(folder, items)
    return HubSource(path=str(folder), splits={"train": split, "val": "validation"}, columns=GEOMETRY3K, **settings)


def test_rows_of_a_set_like_geometry3k(tmp_path: Path) -> None:
    source = geometry3k(tmp_path)
    one, two, none = source.rows("train")
    assert (one.id, one.question, one.answer, one.solution) == ("train-0", "<image>Find x.", "3", None)
    assert (two.answer, shades(two)) == (r"2 \sqrt{221}", [1, 2])
    assert [image.size for image in two.images] == [(56, 28), (30, 60)]
    assert (none.question, none.images) == ("1 + 1?", ())
    (val,) = source.rows("val")
    assert (val.question, shades(val)) == ("<image>Find y.", [3])  # no marker in the text: in front


def test_a_picture_is_known_by_its_bytes_and_made_once(tmp_path: Path) -> None:
    rows = geometry3k(tmp_path).rows("train")
    assert rows[0].images[0].key == rows[1].images[0].key != rows[1].images[1].key
    assert rows[1].images[1] is rows[1:][0].images[1]


def test_a_split_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    told = r"Unknown split \"dev\"\. Should be one of \['train', 'validation'\].*dataset\.source\.splits\.train must name one"
    with pytest.raises(ValueError, match=told):
        geometry3k(tmp_path, split="dev").rows("train")


def test_a_column_that_is_not_there_is_told_with_the_key_that_names_it(tmp_path: Path) -> None:
    write_hub_copy(tmp_path, {"train": [{"images": [], "problem": "Q", "answer": "1"}]})
    source = HubSource(path=str(tmp_path), splits={"train": "train"}, columns=OWN)
    told = r"has no column 'question'; it has images, problem, answer\. Set dataset\.source\.columns\.question\."
    with pytest.raises(ValueError, match=told):
        source.rows("train")


def test_without_internet_it_is_said_what_to_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'hiyouga/geometry3k' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset_builder", offline)
    source = HubSource(path="hiyouga/geometry3k", splits={"train": "train"}, columns=GEOMETRY3K)
    told = r"hf download hiyouga/geometry3k --repo-type dataset --local-dir COPY\. Then set dataset\.source\.path=COPY\."
    with pytest.raises(ValueError, match=told):
        source.rows("train")


def test_a_set_of_picture_files_is_read_as_one_of_embedded_pictures(tmp_path: Path) -> None:
    items = [{"file_name": "a.png", "question": "Q", "answer": "1"}, {"file_name": "b.png", "question": "R", "answer": "2"}]
    write_image_folder(tmp_path, {"train": items}, pictures={"a.png": png(1), "b.png": png(2)})
    rows = HubSource(path=str(tmp_path), splits={"train": "train"}, columns=OWN).rows("train")
    assert [(row.question, shades(row)) for row in rows] == [("<image>Q", [1]), ("<image>R", [2])]


def table(folder: Path, columns: dict[str, object], *, columns_of_rows: Columns = OWN) -> TableSource:
    """A Parquet file."""
    pq.write_table(pa.table(columns), folder / "train.parquet")
    return TableSource(folder=str(folder), files={"train": "*.parquet"}, columns=columns_of_rows)


@pytest.mark.parametrize(
    "cell",
    [
        pa.array([png(7), None], pa.binary()),
        pa.array([png(7), None], pa.large_binary()),
        pa.array([{"bytes": png(7), "path": "elsewhere.png"}, {"bytes": None, "path": None}]),
        pa.array([{"path": "a.png", "bytes": None}, None], pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        pa.array(["a.png", None]),
        pa.array([["a.png"], []]),
        pa.array([[{"bytes": png(7)}], None]),
        pa.array([[png(7)], None], pa.list_(pa.binary(), 1)),
    ],
    ids=lambda cell: str(cell.type),
)
def test_pictures_may_be_bytes_or_names_alone_or_in_lists(tmp_path: Path, cell: pa.Array) -> None:
    (tmp_path / "a.png").write_bytes(png(7))
    one, none = table(tmp_path, {"question": ["Q", "R"], "answer": [4, 5], "image": cell}).rows("train")
    assert (shades(one), one.question, one.answer) == ([7], "<image>Q", "4")
    assert (none.images, none.question) == ((), "R")


def test_several_files_are_one_split_and_short_columns_are_fields(tmp_path: Path) -> None:
    columns = Columns(
        question="question", answer="answer", images=["image_1", "image_2"], id="key", kind="topic", marker="<img>"
    )
    for number in range(2):
        cells = {
            "key": [number], "question": ["<img> and <img>"], "answer": [0.5], "topic": ["angle"], "level": [number], "tags": [["a"]],
            "image_1": [f"{number}.png"], "image_2": [png(number + 5)],
        }  # fmt: skip
        pq.write_table(pa.table(cells), tmp_path / f"train-{number}.parquet", row_group_size=1)
        (tmp_path / f"{number}.png").write_bytes(png(number))
    rows = TableSource(folder=str(tmp_path), files={"train": "train-*.parquet"}, columns=columns).rows("train")
    assert [row.id for row in rows] == ["0", "1"]
    assert (rows[1].question, rows[1].answer, rows[1].kind) == ("<image> and <image>", "0.5", "angle")
    assert rows[1].fields == {"level": "1"}
    assert [shades(row) for row in rows] == [[0, 5], [1, 6]]


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset=parquet reads \.parquet, \.csv, \.tsv files; dataset=jsonl reads JSONL"):
        TableSource(folder=str(tmp_path), files={"train": "train.xlsx"}, columns=OWN).rows("train")


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train-\*\.parquet is not there \(split 'train'\)\. dataset\.source\.folder"):
        TableSource(folder=str(tmp_path), files={"train": "train-*.parquet"}, columns=OWN).rows("train")


def test_a_column_that_cannot_hold_pictures_is_named_with_its_type(tmp_path: Path) -> None:
    told = r"column 'image' holds int64: neither pictures as bytes .* Set dataset\.source\.columns\.images"
    with pytest.raises(ValueError, match=told):
        table(tmp_path, {"question": ["Q"], "answer": [4], "image": [1]}).rows("train")


def test_an_empty_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be opened: .*no data.*dataset\.source\.splits\.train must name"):
        geometry3k(tmp_path, split="train[:0]").rows("train")
    (tmp_path / "train.csv").write_text("question,answer,image\n")
    with pytest.raises(ValueError, match=r"train\.csv cannot be opened: .*no data"):
        TableSource(folder=str(tmp_path), files={"train": "train.csv"}, columns=OWN).rows("train")
