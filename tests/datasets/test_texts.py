"""Texts and numbers of a source stay what they are, and what is no text is told by row, so that it can be left out."""

import re
from collections.abc import Mapping
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own_files import png

from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.hub import TableSource
from vlm_rl.datasets.jsonl import JsonlSource
from vlm_rl.datasets.row import LazyRows, Row

OWN = Columns(question="question", answer="answer", images=None)
FILES = {"train": "train.jsonl"}


def lines(folder: Path, *bad: str) -> LazyRows:
    """A file with a good line in front of these."""
    good = '{"id": "good", "question": "Q", "answer": "1"}'
    (folder / "train.jsonl").write_text("\n".join([good, *bad]), encoding="utf-8")
    return JsonlSource(folder=str(folder), files=FILES).rows("train")


HALF = r"holds half a sign \(\"\\udc0f\"\)|holds half a sign \(\"\\ud800\"\)"


BAD = {  # a line, and what is said of it
    r'{"id": 1, "question": "a\ud800b", "answer": "1"}': HALF,
    r'{"id": 1, "question": "Q", "answer": "\uDC0F"}': HALF,
    r'{"id": "\ud800", "question": "Q", "answer": "1"}': HALF,
    r'{"id": 1, "question": "Q", "answer": "1", "source": "\ud800"}': HALF,
    r'{"id": 1, "question": "Q", "answer": "1", "\ud800": "x"}': HALF,
    '{"id": 1, "question": "Q", "answer": "1", "level": ' + "1" * 5_000 + "}": r"holds a number that is too long: .*4300",
    '{"id": 1, "question": "Q", "answer": " "}': r"'answer' is blank\. Fill it in, or drop the row",
    '{"id": "", "question": "Q", "answer": "1"}': r"'id' is blank",
}


def test_what_is_no_text_costs_its_row_and_no_other(tmp_path: Path) -> None:
    survey = lines(tmp_path, *BAD).survey()
    assert [row.id for row in survey.rows] == ["good"]
    for number, (problem, told) in enumerate(zip(survey.problems, BAD.values(), strict=True), start=2):
        assert re.search(rf"train\.jsonl, line {number}:? ({told})", problem)


def test_a_whole_sign_of_two_escapes_is_text(tmp_path: Path) -> None:
    _, row = lines(tmp_path, r'{"id": 2, "question": "\ud835\udc65 \\ud800", "answer": "1"}')
    assert row.question == "\N{MATHEMATICAL ITALIC SMALL X} \\ud800"


def test_text_of_a_table_that_is_no_utf_8_costs_its_row(tmp_path: Path) -> None:
    raw = pa.Array.from_buffers(pa.string(), 2, pa.array([b"Q", b"\xff"], pa.binary()).buffers())
    pq.write_table(pa.table({"question": raw, "answer": ["1", "2"]}), tmp_path / "train.parquet")
    rows = TableSource(folder=str(tmp_path), files={"train": "train.parquet"}, columns=OWN).rows("train")
    (told,) = rows.survey().problems
    assert "row 1: 'question' is no UTF-8 text" in told


def test_a_label_without_a_name_costs_its_row(tmp_path: Path) -> None:
    """-1 is how the library writes that a label is not known; it is not the last one."""
    named = datasets.Features({"question": datasets.Value("string"), "answer": datasets.ClassLabel(names=["3", "5"])})
    cells = {"question": ["Q", "R", "S", "T"], "answer": [1, -1, 2, None]}
    table = pa.table(cells, schema=named.arrow_schema)
    pq.write_table(table, tmp_path / "train.parquet")
    survey = TableSource(folder=str(tmp_path), files={"train": "train.parquet"}, columns=OWN).rows("train").survey()
    assert [row.answer for row in survey.rows] == ["5"]
    unknown, beyond, none = survey.problems
    assert "row 1 has no 'answer'" in unknown
    assert "row 2: 'answer' is label 2, and only 0 to 1 have names" in beyond
    assert "row 3 has no 'answer'" in none


def csv(folder: Path, text: str, *, name: str = "train.csv") -> LazyRows:
    """The rows of a file with this text."""
    (folder / name).write_text(text)
    (folder / "a.png").write_bytes(png(7))
    columns = Columns(question="question", answer="answer", images="image", kind="kind")
    return TableSource(folder=str(folder), files={"train": name}, columns=columns).rows("train")


def shown(row: Row) -> tuple[str, str, Mapping[str, str], int]:
    """What a row of a table becomes."""
    return row.question, row.answer, row.fields, len(row.images)


@pytest.mark.parametrize("name", ["train.csv", "train.tsv"])
def test_the_cells_of_a_csv_file_are_text(tmp_path: Path, name: str) -> None:
    text = "question,answer,image,kind,level\n7?,007,,,1\n20?,20,a.png,NA,\nnone?,,,,3\nNone?,None,,,1.50\n0.10?,1e3,,True,3\n"
    survey = csv(tmp_path, text.replace(",", "\t") if name.endswith("tsv") else text, name=name).survey()
    assert [shown(row) for row in survey.rows] == [
        ("7?", "007", {"level": "1"}, 0),
        ("<image>20?", "20", {}, 1),
        ("None?", "None", {"level": "1.50"}, 0),
        ("0.10?", "1e3", {"level": "3"}, 0),
    ]
    assert [row.kind for row in survey.rows] == ["", "NA", "", "True"]
    (told,) = survey.problems
    assert f"{name}, row 2: 'answer' is blank" in told


def test_a_marker_that_is_no_text_is_told_with_the_quotes_that_it_needs() -> None:
    columns = Columns(question="question", answer="answer", images=None)
    for marker in (["IMG"], "", None):
        object.__setattr__(columns, "marker", marker)  # as a config would; the tests' checker of types would refuse it before
        with pytest.raises(ValueError, match=r"not a text\. .*\"dataset\.source\.columns\.marker='\[IMG\]'\""):
            columns.__post_init__()
