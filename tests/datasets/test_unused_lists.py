"""A column with lists that is no part of a row is named once, so that options are not forgotten."""

from pathlib import Path
from typing import Any

import pytest
from row_files import OWN, TYPED, dataset_of, source_of

from vlm_rl.datasets.columns import Columns

ITEM = {"question": "Q", "answer": "B", "choices": ["3", "5"], "level": 1}
TOLD = "own: the list in 'choices' is not used. Options are asked where dataset.source.columns.options names their column.\n"


def said(folder: Path, kind: str, capsys: pytest.CaptureFixture[str], *items: dict[str, Any], columns: Columns = OWN) -> str:
    """What is printed while a split is loaded twice."""
    made = dataset_of(source_of(folder, kind, items, columns=columns))
    for _ in range(2):
        made.split("train")
        made._rows.clear()
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", TYPED)
def test_it_is_named_once(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(tmp_path, kind, capsys, ITEM, ITEM) == TOLD


@pytest.mark.parametrize("kind", TYPED)
def test_several_are_named_together(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the lists in 'choices', 'tags' are not used." in said(tmp_path, kind, capsys, {**ITEM, "tags": [1]})


@pytest.mark.parametrize("kind", TYPED)
def test_what_is_used_or_no_list_is_not_named(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = Columns(question="question", answer="answer", images=None, options="choices")
    pictures = Columns(question="question", answer="answer", images="pictures")
    field = Columns(question="question", answer="x.a", images=None)
    assert said(tmp_path, kind, capsys, ITEM, columns=options) == ""
    assert said(tmp_path, kind, capsys, {"question": "Q", "answer": "1", "pictures": ["a.png"]}, columns=pictures) == ""
    assert said(tmp_path, kind, capsys, {"question": "Q", "x": {"a": "1", "b": ["in an object"]}}, columns=field) == ""
    assert said(tmp_path, kind, capsys, {**ITEM, "choices": "['3', '5']"}) == ""  # a text in brackets is a text


def test_a_list_in_a_later_row_is_seen_and_a_bad_line_is_left_to_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = dataset_of(source_of(tmp_path, "jsonl", [{"question": "Q", "answer": "1"}, ITEM]))
    (tmp_path / "train.jsonl").write_text("no JSON\n" + (tmp_path / "train.jsonl").read_text())
    with pytest.raises(ValueError, match="line 1 is no JSON"):
        made.split("train")
    assert capsys.readouterr().out == TOLD
    assert made.unused_lists == ["choices"]
