"""Whatever stands in a text column or a line, records are read and tables written."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_runs import sample_row, write_completions, write_manifest
from hand_runs import ENDPOINT, SETTING, records_of

from vlm_rl.reports.reading.completions import completions_for_reader
from vlm_rl.reports.reading.files import UnreadableRows, read_json_lines, read_rows
from vlm_rl.reports.tables.evaluation_behaviour import evaluation_behaviour, evaluation_behaviour_table
from vlm_rl.reports.tables.run_tables import run_table

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
    "row_id",
    "image_id",
    "kind",
    "modality",
    "fields",
    "question",
    "answer",
    "response",
    "verdict",
    "finish_reason",
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
    (run / "metrics.jsonl").write_text('{"event": "train", "generation_steps": 1, "epoch": 1.0, "train/accuracy": 0.5}\n')
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
    assert responses[1] == "broken \ufffd\ufffd utf-8 \ufffd wait \ufffd"
    assert responses[3] == "nul \x00 and bell \x07, yet"
    assert responses[7:] == ["", ""]
    assert len(responses[6]) == 2**20


def test_a_column_of_another_type_or_none_at_all_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"response": [1, 2], "accuracy": ["a", "b"], "verdict": [["x"], ["y"]]}), path)
    assert read_rows(path, columns=("response",))["response"].to_pylist() == ["1", "2"]
    for column in ("accuracy", "verdict"):
        with pytest.raises(UnreadableRows, match=r"a\.parquet cannot be read: "):
            read_rows(path, columns=(column,))
    with pytest.raises(UnreadableRows, match=r"a\.parquet has no column row_id\."):
        read_rows(path, columns=("row_id", "response"))


def test_lines_with_half_a_surrogate_pair_or_of_a_megabyte_are_read(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_text('{"a": "\\ud800x \\ud83d\\ude00"}\n{"a": "' + "x" * 2**20 + '"}\n' + "[" * 100_000 + "\n")
    problems: list[str] = []
    records = read_json_lines(path, problems=problems)
    assert records[0] == {"a": "?x 😀"}
    assert len(records[1]["a"]) == 2**20
    assert len(problems) == 1


def test_hostile_completions_keep_their_aha_cases(tmp_path: Path) -> None:
    run = tmp_path / "s" / "grpo" / "seed-0"
    write_manifest(run, algorithm="grpo", seed=0, arm="a" * 16, vanilla=None)
    write_completions(run, step=1, rows=[{"number": 1, "correct": True, "response": "<b>wait</b> \u202e"}])
    (case,) = completions_for_reader(records_of(tmp_path / "s"), endpoint=ENDPOINT, cases_per_group=1, aha_cases=1, longest=100)
    assert (case.response, case.is_aha) == ("<b>wait</b> \u202e", True)
