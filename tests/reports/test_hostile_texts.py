"""Whatever stands in a text column or a line, records are read and tables written, and no program runs what they hold."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from case_files import cases
from fake_runs import sample_row, write_manifest
from hand_runs import ENDPOINT, SETTING, records_of
from usual import usual_settings

from vlm_rl.reports import export
from vlm_rl.reports.reading.completions import completions_for_reader
from vlm_rl.reports.reading.files import UnreadableRows, number, read_json_lines, read_rows
from vlm_rl.reports.tables.evaluation_behaviour import evaluation_behaviour_table
from vlm_rl.reports.tables.run_tables import run_table
from vlm_rl.reports.tables.table import Table, no_formula

TEXTS = (
    b"</td><script>alert(1)</script><img src=x onerror=alert(1)>",
    b"broken \xff\xfe utf-8 \xc3 wait \xf0\x9f\x98",
    b"lone surrogate \xed\xa0\x80 wait",
    b"nul \x00 and bell \x07, yet",
    "right to left \u202e tiaw \u2066 \u200f".encode(),
    rb"$\frac{1}{2}$ \boxed{\boxed{ % & # _ ~ ^ {{ 7 * 7 }}",
    b"x" * 2**18,
    b"",
    None,
)
COLUMNS = (
    ("row_id",),
    ("image_id", "kind", "modality", "fields"),
    ("question", "answer"),
    ("response",),
    ("verdict", "finish_reason"),
)


def poisoned(path: Path, *, columns: Sequence[str], split: str) -> Path:
    """A file in which some text columns hold all these bytes, though it says that they are UTF-8."""
    rows = [sample_row(n, sample=n, correct=n % 2 == 0, split=split, setting=SETTING, epoch=1) for n in range(len(TEXTS))]
    table = pa.Table.from_pylist(rows)
    raw = pa.array(TEXTS, pa.binary())
    as_text = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers(), raw.null_count)
    path.parent.mkdir(parents=True, exist_ok=True)
    for column in columns:
        table = table.set_column(table.column_names.index(column), column, as_text)
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("columns", COLUMNS, ids=str)
def test_no_text_breaks_reading_or_tables(tmp_path: Path, columns: tuple[str, ...]) -> None:
    run = tmp_path / "s" / "grpo" / "seed-0"
    write_manifest(run, algorithm="grpo", seed=0, arm="a" * 16, vanilla=None)
    for split in ("val", "test"):
        poisoned(run / "evaluations" / "epoch-0001" / f"{split}_{SETTING}.parquet", columns=columns, split=split)
    poisoned(run / "completions" / "step-000001.parquet", columns=columns, split="train")
    (run / "metrics.jsonl").write_text('{"event": "train", "generation_steps": 1, "epoch": 1.0}\n')
    records = records_of(tmp_path / "s")
    (read,) = records.arms[0].runs
    behaviour = evaluation_behaviour_table(records, endpoint=ENDPOINT)
    found = (
        read.evaluations[1, "val", SETTING].num_samples.sum(),
        read.training.records[0]["train/accuracy"],
        len(behaviour.rows),
    )
    assert found == (len(TEXTS), 5 / 9, 4)
    for table in (behaviour, run_table(records)):
        table.write_csv(tmp_path / f"{table.name}.csv")
    size = usual_settings(reader={"cases_per_group": 9, "longest": 100}).reader
    texts = completions_for_reader(records, endpoint=ENDPOINT, size=size)
    assert all(len(case.response) <= 100 for case in texts)
    "".join(str(case) for case in texts).encode()  # nothing is left that no file could hold


def test_broken_utf_8_is_read_as_what_can_be_seen_and_counted(tmp_path: Path) -> None:
    path = poisoned(tmp_path / "val_pass@1_t0.6.parquet", columns=["response"], split="val")
    responses = read_rows(path, columns=("response",))["response"].to_pylist()
    assert responses[1:4:2] == ["broken \ufffd\ufffd utf-8 \ufffd wait \ufffd", "nul \x00 and bell \x07, yet"]
    assert (len(responses[6]), responses[7:]) == (2**18, ["", ""])


def test_a_column_of_another_type_or_none_at_all_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {"response": [1, 2], "answer": [b"\xff", b"x"], "accuracy": ["a", "b"], "verdict": [["x"], ["y"]]}
    pq.write_table(pa.table(columns), path)
    assert read_rows(path, columns=("response", "answer")).to_pydict() == {"response": ["1", "2"], "answer": ["\ufffd", "x"]}
    said = {("accuracy",): "cannot be read: ", ("verdict",): "cannot be read: ", ("row_id", "response"): "has no column row_id"}
    for asked, why in said.items():
        with pytest.raises(UnreadableRows, match=rf"a\.parquet {why}"):
            read_rows(path, columns=asked)


def test_whole_lines_are_read_and_what_is_no_object_is_named_but_for_a_last_one_that_is_being_written(tmp_path: Path) -> None:
    path, problems = tmp_path / "metrics.jsonl", list[str]()
    path.write_bytes(b'{"a": 1}\n{"a": \xff\n[1]\n' + b"[" * 100_000 + b'\n{"a": 2}\n{"event": "tra')
    assert read_json_lines(path, problems=problems) == ({"a": 1}, {"a": 2})
    path.write_text('{"a": "\\ud800x \\ud83d\\ude00"}\n{"a": "' + "x" * 2**20 + '"}\n')
    assert read_json_lines(path, problems=problems) == ({"a": "?x 😀"}, {"a": "x" * 2**20})
    assert read_json_lines(tmp_path / "none", problems=problems) == ()
    assert [said.split(": ")[1] for said in problems] == [f"line {n} is not a JSON object and is left out." for n in (2, 3, 4)]


def test_a_missing_quantity_is_nan() -> None:
    assert all(math.isnan(number(record, key="a")) for record in ({"a": None}, {}, {"a": "1"}, {"a": 10**400}))
    assert number({"a": 2}, key="a") == 2.0


@pytest.mark.parametrize("cell", cases("hostile", "formulas"))
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(tmp_path: Path, cell: str) -> None:
    table = Table(name="t", title="", note="", columns=(), rows=({cell: cell, "n": -1},))
    cell = cell.replace("\r", "\n")
    with table.write_csv(tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [[f"'{cell}", "n"], [f"'{cell}", "-1"]]


@pytest.mark.parametrize("cell", [*cases("hostile", "harmless"), None])
def test_any_other_cell_stays_as_it_is(cell: Any) -> None:
    assert no_formula(cell) == cell


@pytest.mark.parametrize(("escape", "written", "escaped"), cases("hostile", "escapes"))
def test_no_link_list_command_or_ligature_is_left(escape: str, written: str, escaped: str) -> None:
    assert getattr(export, escape)(written) == escaped
