"""The authors' JSONL format, and what is said about lines that are not in it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from own_files import png, write_authors, write_image_folder
from row_files import shades

from vlm_rl.datasets.columns import Columns
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


def test_only_a_line_feed_ends_a_line_and_a_byte_order_mark_is_no_part_of_the_first(tmp_path: Path) -> None:
    made = rows(tmp_path, "\ufeff" + line(question="a\u2028b") + "\n" + line(id=2))
    assert [(row.id, row.question) for row in made] == [("1", "a\u2028b"), ("2", "Q")]


def test_a_missing_file_is_named_with_the_key_that_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"val\.jsonl is not there \(split 'val'\)\. dataset\.source\.folder must name"):
        JsonlSource(folder=str(tmp_path), files=FILES).rows("val")


def test_further_short_fields_of_a_row_are_kept_as_text_for_breakdowns(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, line(level=3, source="MATH", hard=True, notes="x" * 81, tags=["a"], kind="angles"))
    assert row.fields == {"level": "3", "source": "MATH", "hard": "True"}
    assert row.kind == "angles"


def test_rows_are_made_when_asked_for_and_share_the_picture_of_a_file(tmp_path: Path) -> None:
    text = line(image="a.png") + "[]\n" + line(image="a.png")
    (tmp_path / "train.jsonl").write_text(text)
    made = JsonlSource(folder=str(tmp_path), files=FILES).rows("train")  # neither the bad line nor the missing file is touched
    assert len(made) == 3
    assert made[0].images[0] is made[-1].images[0]
    assert [len(made[1:]), len(made[::2]), made[::2][1].id] == [2, 2, "1"]
    with pytest.raises(IndexError):
        made[3]
    survey = made.survey()
    assert [len(survey.rows), survey.problems] == [2, (f"{tmp_path}/train.jsonl, line 2 is no JSON object; a row is one line "
                                                       'like {"id": ..., "question": ...}.',)]  # fmt: skip


def test_the_names_of_columns_and_of_the_marker_may_be_others(tmp_path: Path) -> None:
    columns = Columns(question="q", answer="a", images=["first", "second"], id="key", solution="why", marker="[IMG]")
    items = [
        {"key": 7, "q": "See [IMG] and [IMG].", "a": 1.5, "first": "a.png", "second": ["b.png"], "why": "so"},
        {"key": 8, "q": "What?", "a": 5, "first": None, "second": "b.png"},
        {"key": 9, "q": "Nothing to see.", "a": "4"},
    ]
    write_authors(tmp_path, {"train": items}, pictures={"a.png": png(1), "b.png": png(2)})
    source = JsonlSource(folder=str(tmp_path), files=FILES, columns=columns)
    two, one, none = source.rows("train")
    assert (two.question, two.answer, two.solution, two.id) == ("See <image> and <image>.", "1.5", "so", "7")
    assert shades(two) == [1, 2]
    assert (one.question, one.answer, shades(one)) == ("<image>What?", "5", [2])  # no marker: in front
    assert (none.question, none.images) == ("Nothing to see.", ())


def test_a_picture_that_no_column_names_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"line 1 has 'images', but dataset\.source\.columns\.images names image\. Name it there"
    ):
        rows(tmp_path, line(images=["a.png"]))


def test_a_link_inside_the_folder_and_a_folder_that_is_a_link_are_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(png(3))
    (tmp_path / "real" / "b.png").symlink_to("a.png")
    (tmp_path / "link").symlink_to("real")
    made = rows(tmp_path / "link", line(image="b.png") + line(image=str(tmp_path / "link" / "a.png")))
    assert [shades(row) for row in made] == [[3], [3]]


def test_the_metadata_of_an_image_folder_are_rows(tmp_path: Path) -> None:
    items = [
        {"file_name": "a.png", "question": "How long?", "answer": "7", "level": 2},
        {"file_names": ["a.png", "b.png"], "question": "<image> or <image>?", "answer": "1"},
        {"question": "1 + 1?", "answer": "2"},
    ]
    write_image_folder(tmp_path, {"train": items}, pictures={"a.png": png(1), "b.png": png(2)})
    columns = Columns(question="question", answer="answer", images=("file_name", "file_names"))
    one, two, none = JsonlSource(folder=str(tmp_path), files={"train": "train/metadata.jsonl"}, columns=columns).rows("train")
    assert (one.question, one.fields, one.id) == ("<image>How long?", {"level": "2"}, "train-0")
    assert shades(two) == [1, 2]
    assert (none.question, none.images) == ("1 + 1?", ())


class Hub:
    """Stands for the hub: a download is a snapshot whose files are links into a store of blobs, as huggingface_hub keeps it."""

    def __init__(self, cache: Path) -> None:
        self.asked: list[dict[str, Any]] = []
        self.snapshot = cache / "datasets--ManTle--MAYE" / "snapshots" / "0123abc"
        self.blobs = cache / "datasets--ManTle--MAYE" / "blobs"

    def put(self, name: str, content: bytes) -> None:
        """A file of the repository."""
        blob, path = self.blobs / f"{len(list(self.blobs.glob('*')))}", self.snapshot / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        path.symlink_to(blob)

    def download(self, repo_id: str, **options: Any) -> str:
        """In place of huggingface_hub.snapshot_download."""
        self.asked.append({"repo_id": repo_id, **options})
        return str(self.snapshot)


def authors(folder: Path, *, names: Sequence[str] = ("train",)) -> JsonlSource:
    """conf/dataset/geo.yaml in short."""
    files = {name: f"{name}.jsonl" for name in names}
    return JsonlSource(
        folder=str(folder), files=files, repository="ManTle/MAYE", repository_folder="geometry3k", revision="0123abc"
    )


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A repository with one row of the authors' and its picture."""
    made = Hub(tmp_path / "cache")
    made.put("geometry3k/train.jsonl", line(question="<image>Q", image="geometry3k_images/1.png").encode())
    made.put("geometry3k/geometry3k_images/1.png", png(5))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.download)
    return made


def test_without_a_folder_the_files_come_from_the_hub(tmp_path: Path, hub: Hub) -> None:
    (row,) = authors(tmp_path / "nowhere").rows("train")
    assert shades(row) == [5]
    wanted = {"repo_type": "dataset", "revision": "0123abc", "allow_patterns": "geometry3k/*"}
    assert hub.asked == [{"repo_id": "ManTle/MAYE", **wanted}]


def test_a_folder_that_is_there_is_taken_before_the_hub(tmp_path: Path, hub: Hub) -> None:
    write_authors(tmp_path / "own", {"train": [{"id": "own", "question": "Q", "answer": "1"}]}, pictures={})
    assert [row.id for row in authors(tmp_path / "own").rows("train")] == ["own"]
    assert hub.asked == []


def test_a_link_of_the_download_cache_must_lead_into_the_cache(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    (hub.snapshot / "geometry3k" / "s.png").symlink_to(tmp_path / "secret.png")
    hub.put("geometry3k/val.jsonl", line(question="<image>Q", image="s.png").encode())
    with pytest.raises(ValueError, match=r"image 's\.png' leaves the folder"):
        authors(tmp_path / "nowhere", names=["val"]).rows("val")[0]


def test_a_repository_that_is_laid_out_otherwise_is_told_with_what_it_holds(tmp_path: Path, hub: Hub) -> None:
    hub.put("geometry3k/images.zip", b"")
    with pytest.raises(FileNotFoundError, match=r"ManTle/MAYE holds geometry3k/images\.zip, geometry3k/train\.jsonl there"):
        authors(tmp_path / "nowhere", names=["val"]).rows("val")


def test_without_internet_it_is_said_what_to_download_and_which_key_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("no cached snapshot\nmore words")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(FileNotFoundError) as caught:
        authors(tmp_path / "data" / "geometry3k").rows("train")
    told = str(caught.value)
    assert "could not be fetched from the hub (LocalEntryNotFoundError: no cached snapshot)" in told
    assert "hf download ManTle/MAYE --repo-type dataset --include 'geometry3k/*' --local-dir data" in told
    assert "Then set dataset.source.folder to the copy of data/geometry3k." in told
