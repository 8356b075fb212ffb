"""Whatever stands in a text column or a line, records are read and tables written, and no program runs what they hold."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_runs import sample_row, write_manifest
from hand_runs import ENDPOINT, SETTING, records_of

from vlm_rl.reports.export import escape_latex, escape_line, escape_markdown
from vlm_rl.reports.reading.completions import completions_for_reader
from vlm_rl.reports.reading.files import UnreadableRows, number, read_json_lines, read_rows
from vlm_rl.reports.tables.evaluation_behaviour import evaluation_behaviour, evaluation_behaviour_table
from vlm_rl.reports.tables.run_tables import run_table
from vlm_rl.reports.tables.table import Table, no_formula, text
from vlm_rl.reports.tables.table import number as number_column

TEXTS = (
    b"</td><script>alert(1)</script><img src=x onerror=alert(1)>",
    b"broken \xff\xfe utf-8 \xc3 wait \xf0\x9f\x98",
    b"lone surrogate \xed\xa0\x80 wait",
    b"nul \x00 and bell \x07, yet",
    "right to left \u202e tiaw \u2066 \u200f".encode(),
    rb"$\frac{1}{2}$ \boxed{\boxed{ % & # _ ~ ^ {{ 7 * 7 }}",
    b"x" * 2**20,
    b"",
    None,
)
TEXT_COLUMNS = (
    *("row_id", "image_id", "kind", "modality", "fields"),
    *("question", "answer", "response", "verdict", "finish_reason"),
)


def poisoned(path: Path, *, column: str, split: str) -> None:
    """A file in which one text column holds all these bytes, though it says that it is UTF-8."""
    rows = [sample_row(n, sample=n, correct=n % 2 == 0, split=split, setting=SETTING, epoch=1) for n in range(len(TEXTS))]
    table = pa.Table.from_pylist(rows)
    raw = pa.array(TEXTS, pa.binary())
    as_text = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers(), raw.null_count)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.set_column(table.column_names.index(column), column, as_text), path)


@pytest.mark.parametrize("column", TEXT_COLUMNS)
def test_no_text_breaks_reading_or_tables(tmp_path: Path, column: str) -> None:
    run = tmp_path / "s" / "grpo" / "seed-0"
    write_manifest(run, algorithm="grpo", seed=0, arm="a" * 16, vanilla=None)
    for split in ("val", "test"):
        poisoned(run / "evaluations" / "epoch-0001" / f"{split}_{SETTING}.parquet", column=column, split=split)
    poisoned(run / "completions" / "step-000001.parquet", column=column, split="train")
    (run / "metrics.jsonl").write_text('{"event": "train", "generation_steps": 1, "epoch": 1.0}\n')
    records = records_of(tmp_path / "s")
    (read,) = records.arms[0].runs
    assert read.evaluations[1, "val", SETTING].num_samples.sum() == len(TEXTS)
    assert read.training[0]["train/accuracy"] == 5 / 9
    behaviour = evaluation_behaviour_table(evaluation_behaviour(records, endpoint=ENDPOINT), endpoint=ENDPOINT)
    cases = completions_for_reader(records, endpoint=ENDPOINT, cases_per_group=9, aha_cases=3, longest=100)
    for table in (behaviour, run_table(records)):
        table.write_csv(tmp_path / f"{table.name}.csv")
    assert len(behaviour.rows) == 4
    assert all(len(case.response) <= 100 for case in cases)
    "".join(str(case) for case in cases).encode()  # nothing is left that no file could hold


def test_broken_utf_8_is_read_as_what_can_be_seen_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "val_pass@1_t0.6.parquet"
    poisoned(path, column="response", split="val")
    responses = read_rows(path, columns=("response",))["response"].to_pylist()
    assert responses[1:4:2] == ["broken \ufffd\ufffd utf-8 \ufffd wait \ufffd", "nul \x00 and bell \x07, yet"]
    assert (len(responses[6]), responses[7:]) == (2**20, ["", ""])


def test_a_column_of_another_type_or_none_at_all_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {"response": [1, 2], "answer": [b"\xff", b"x"], "accuracy": ["a", "b"], "verdict": [["x"], ["y"]]}
    pq.write_table(pa.table(columns), path)
    assert read_rows(path, columns=("response", "answer")).to_pydict() == {"response": ["1", "2"], "answer": ["\ufffd", "x"]}
    for column in ("accuracy", "verdict"):
        with pytest.raises(UnreadableRows, match=r"a\.parquet cannot be read: "):
            read_rows(path, columns=(column,))
    with pytest.raises(UnreadableRows, match=r"a\.parquet has no column row_id\."):
        read_rows(path, columns=("row_id", "response"))


def test_whole_lines_are_read_and_what_is_no_object_is_named_but_for_a_last_one_that_is_being_written(tmp_path: Path) -> None:
    path, problems = tmp_path / "metrics.jsonl", list[str]()
    path.write_bytes(b'{"a": 1}\n{"a": \xff\n[1]\n' + b"[" * 100_000 + b'\n{"a": 2}\n{"event": "tra')
    assert read_json_lines(path, problems=problems) == ({"a": 1}, {"a": 2})
    assert [said.split(": ")[1] for said in problems] == [f"line {n} is not a JSON object and is left out." for n in (2, 3, 4)]
    path.write_text('{"a": "\\ud800x \\ud83d\\ude00"}\n{"a": "' + "x" * 2**20 + '"}\n')
    assert read_json_lines(path, problems=problems) == ({"a": "?x 😀"}, {"a": "x" * 2**20})
    assert read_json_lines(tmp_path / "none", problems=problems) == ()
    assert len(problems) == 3


def test_a_missing_quantity_is_nan() -> None:
    assert all(math.isnan(number(record, key="a")) for record in ({"a": None}, {}, {"a": "1"}, {"a": 10**400}))
    assert number({"a": 2}, key="a") == 2.0


SIGNS, BEFORE = "=+-@＝＋－＠", ("\t", "\r", "\n", "  ", "\u200b", "\ufeff\xa0")


@pytest.mark.parametrize("cell", [*(f"{sign}1" for sign in SIGNS), "@SUM(1)", *(f"{before}=1" for before in BEFORE)])
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(tmp_path: Path, cell: str) -> None:
    columns = (text(cell, title=""), number_column("n", title=""))
    table = Table(name="t", title="", note="", columns=columns, rows=({cell: cell, "n": -1},))
    cell = cell.replace("\r", "\n")
    with table.write_csv(tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [[f"'{cell}", "n"], [f"'{cell}", "-1"]]


@pytest.mark.parametrize("cell", ["–", "−1", "grpo", "a=b", "a-b", "'=1", "", "  x", -1, -0.5, None])
def test_any_other_cell_stays_as_it_is(cell: Any) -> None:
    assert no_formula(cell) == cell


@pytest.mark.parametrize(
    ("escape", "written", "escaped"),
    [
        (escape_markdown, "http://x.y", r"http\://x.y"),
        (escape_markdown, "www.x.y", r"www\.x.y"),
        (escape_markdown, "WWW.x.y", r"WWW\.x.y"),
        (escape_markdown, "&lt;b&#62;", r"\&lt;b\&\#62;"),
        (escape_markdown, "[a](javascript:x)", r"\[a\](javascript:x)"),
        (escape_markdown, "A & B", "A & B"),
        (escape_line, "1. x", r"1\. x"),
        (escape_line, "- x", r"\- x"),
        (escape_line, "+ x", r"\+ x"),
        (escape_line, "12) x", r"12\) x"),
        (escape_latex, "?`", r"?\textasciigrave{}"),
        (escape_latex, "a--b", "a-{}-b"),
        (escape_latex, r"\input{x}", r"\textbackslash{}input\{x\}"),
        (escape_latex, "^^5cinput", r"\textasciicircum{}\textasciicircum{}5cinput"),
        (escape_latex, "a%\nb", r"a\% b"),
        (escape_latex, "", ""),
    ],
)
def test_no_link_list_command_or_ligature_is_left(escape: Callable[[str], str], written: str, escaped: str) -> None:
    assert escape(written) == escaped
