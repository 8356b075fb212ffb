"""A column may be a field inside of another one, named with a dot."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own_files import embedded, png, write_pictures
from row_files import TYPED, shades, source_of

from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.hub import HubSource, TableSource
from vlm_rl.datasets.row_text import cell, path_of

VERL = Columns(
    question="extra_info.question", answer="reward_model.ground_truth", images=None, id="extra_info.index", kind="data.of.kind"
)
ITEM = {
    "extra_info": {"question": "Q?", "index": 7, "split": "train"},
    "reward_model": {"ground_truth": "5", "style": "rule"},
    "data": {"of": {"kind": "angle"}},
    "ability": "math",
}


@pytest.mark.parametrize("kind", TYPED)
def test_rows_like_those_of_verl(tmp_path: Path, kind: str) -> None:
    (row,) = source_of(tmp_path, kind, [ITEM], columns=VERL).rows("train")
    assert (row.id, row.question, row.answer, row.kind, row.fields) == ("7", "Q?", "5", "angle", {"ability": "math"})


@pytest.mark.parametrize("kind", TYPED)
def test_a_column_whose_own_name_has_a_dot_wins(tmp_path: Path, kind: str) -> None:
    columns = Columns(question="a.b", answer="c.d.e", images=None, id="f.g.h")
    item = {"a.b": "own", "a": {"b": "inner"}, "c.d": {"e": "1"}, "c": {"d": {"e": "2"}}, "f": {"g.h": "3"}}
    (row,) = source_of(tmp_path, kind, [item], columns=columns).rows("train")
    assert (row.question, row.answer, row.id) == ("own", "1", "3")


@pytest.mark.parametrize("kind", TYPED)
def test_a_field_that_is_missing_in_a_row_costs_the_row(tmp_path: Path, kind: str) -> None:
    holes: list[dict[str, Any]] = [{"reward_model": None}, {"reward_model": {"ground_truth": None, "style": "rule"}}]
    survey = source_of(tmp_path, kind, [ITEM, *({**ITEM, **hole} for hole in holes)], columns=VERL).rows("train").survey()
    assert [row.answer for row in survey.rows] == ["5"]
    assert ["has no 'reward_model.ground_truth'" in told for told in survey.problems] == [True, True]


def test_a_field_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    columns = Columns(question="ability", answer="reward_model.truth", images=None)
    rows = source_of(tmp_path, "jsonl", [ITEM, {**ITEM, "reward_model": "5"}], columns=columns).rows("train")
    one, two = rows.survey().problems
    assert (
        "line 1 has no 'reward_model.truth'; 'reward_model' has ground_truth, style. A row needs ability, reward_model.truth."
        in one
    )
    assert "line 2 has no 'reward_model.truth'; 'reward_model' has no fields." in two
    told = r"has no column 'reward_model\.truth'; it has .*; 'reward_model' has ground_truth, style\. Set .*columns\.answer\."
    with pytest.raises(ValueError, match=told):
        source_of(tmp_path, "parquet", [ITEM], columns=columns).rows("train")


def test_a_name_that_leads_nowhere_has_no_cell() -> None:
    for name in ("", ".", "a.", ".a", "a..b", "a.b.c", "b", "a.b.", "..a.b"):
        assert path_of({"a": {"b": 1}}, name) is None
        assert cell({"a": {"b": 1}}, name) is None


@pytest.mark.parametrize("kind", TYPED)
def test_pictures_and_options_may_be_inside_too(tmp_path: Path, kind: str) -> None:
    write_pictures(tmp_path, {"a.png": png(1), "b.png": png(2)})
    columns = Columns(
        question="question",
        answer="choices.key",
        images=["data.image", "data.more"],
        options="choices.text",
        answer_is="index_1",
    )
    item = {"question": "Q?", "data": {"image": "a.png", "more": ["b.png"]}, "choices": {"text": ["3", "5"], "key": 2}}
    none = {"question": "R?", "data": None, "choices": {"text": ["3", "5"], "key": 1}}
    one, two = source_of(tmp_path, kind, [item, none], columns=columns).rows("train")
    assert (one.question, one.answer) == ("<image><image>Q?\nA. 3\nB. 5", "B. 5")
    assert shades(one) == [1, 2]
    assert (two.question, two.answer, two.images) == ("R?\nA. 3\nB. 5", "A. 3", ())


def test_pictures_in_a_struct_are_embedded_bytes_and_numbers_are_as_written(tmp_path: Path) -> None:
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    inner = pa.struct({"image": image, "answer": pa.float32(), "list": pa.list_(image)})
    cells = [{"image": embedded(png(i))[0], "answer": 0.1, "list": embedded(png(i + 5))} for i in (1, 2, 3)]
    pq.write_table(pa.table({"q": ["Q?"] * 3, "data": pa.array(cells, inner)}), tmp_path / "train.parquet", row_group_size=2)
    columns = Columns(question="q", answer="data.answer", images=["data.image", "data.list"])
    rows = TableSource(folder=str(tmp_path), files={"train": "train.parquet"}, columns=columns).rows("train")
    assert [row.answer for row in rows] == ["0.1"] * 3
    assert [shades(row) for row in rows] == [[1, 6], [2, 7], [3, 8]]


def test_a_part_of_a_set_of_the_hub_keeps_fields_and_rows_together(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    named = datasets.ClassLabel(names=["acute", "obtuse"])
    features = datasets.Features({"q": datasets.Value("string"), "x": {"a": datasets.Value("string"), "kind": named}})
    items = [{"q": f"Q{i}", "x": None if i == 2 else {"a": str(i), "kind": i % 2}} for i in range(5)]
    datasets.Dataset.from_list(items, features=features).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    columns = Columns(question="q", answer="x.a", images=None, kind="x.kind")
    rows = HubSource(path=str(tmp_path), splits={"train": "train[1:4]"}, columns=columns).rows("train")
    survey = rows.survey()
    assert [(row.question, row.answer, row.kind) for row in survey.rows] == [("Q1", "1", "obtuse"), ("Q3", "3", "obtuse")]
    assert len(survey.problems) == 1
