"""A number of a file becomes the text that somebody wrote, and where there is none the row or the field is missing."""

import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from row_files import OWN, TYPED, source_of

from vlm_rl.datasets.arrow_table import ArrowTable
from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.hub import TableSource
from vlm_rl.datasets.jsonl import JsonlSource
from vlm_rl.datasets.line_table import read_strictly
from vlm_rl.datasets.row import LazyRows
from vlm_rl.datasets.selection import select
from vlm_rl.rewards.judge import Judge, Verdict


def table(folder: Path, answers: pa.Array, *, columns: Columns = OWN, **more: pa.Array) -> LazyRows:
    """The rows of a Parquet file with these answers, and further columns."""
    questions = [f"Q{i}" for i in range(len(answers))]
    pq.write_table(pa.table({"question": questions, "answer": answers, **more}), folder / "train.parquet")
    return TableSource(folder=str(folder), files={"train": "train.parquet"}, columns=columns).rows("train")


@pytest.mark.parametrize(
    ("answers", "golds"),
    [
        (pa.array([0.1, 3.3, -12.34, 1e-5, 20, 1e10, 0.3333333], pa.float32()), "0.1 3.3 -12.34 1e-05 20.0 10000000000.0 0.3333333"),
        (pa.array([np.float16(0.1), np.float16(3.3), np.float16(20)], pa.float16()), "0.1 3.3 20.0"),
        (pa.array([0.1, 20, 1 / 3], pa.float64()), "0.1 20.0 0.3333333333333333"),
        (pa.array([Decimal("0.10"), Decimal("-7.00")], pa.decimal128(9, 2)), "0.10 -7.00"),
        (pa.array([Decimal("0.0000000001")], pa.decimal256(50, 10)), "0.0000000001"),
        (pa.array([2**63 - 1, -7], pa.int64()), f"{2**63 - 1} -7"),
        (pa.array([2**64 - 1], pa.uint64()), f"{2**64 - 1}"),
        (pa.array([0.1, 0.2, 0.1], pa.float32()).dictionary_encode(), "0.1 0.2 0.1"),
        (pa.array(["0.1", "B"]).dictionary_encode(), "0.1 B"),
        (pa.array(["0.1", "B"], pa.string_view()), "0.1 B"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)  # fmt: skip
def test_a_number_of_a_table_is_the_text_that_was_written(tmp_path: Path, answers: pa.Array, golds: str) -> None:
    rows = table(tmp_path, answers, level=answers)
    assert [row.answer for row in rows] == golds.split()
    assert [row.fields for row in rows] == [{"level": gold} for gold in golds.split()]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_text_of_any_float32_is_the_same_float32_and_no_longer_than_its_nine_digits(value: float) -> None:
    whole = pa.table({"x": pa.array([value], pa.float32())})
    read = ArrowTable(whole, name="t", needed=["x"], images=[], labels={}, largest=1).item(0)["x"]
    assert np.float32(read) == np.float32(value)
    assert len(f"{Decimal(repr(read)).normalize():E}".split("E")[0].strip("-").replace(".", "")) <= 9


def test_float32_answers_are_judged_by_what_was_written(tmp_path: Path) -> None:
    golds = [row.answer for row in table(tmp_path, pa.array([0.1, 3.3, 20, 1e-5], pa.float32()))]
    with Judge() as judge:
        verdicts = judge.judge([rf"\boxed{{{text}}}" for text in ("0.1", "3.3", "20", "0.00001")], golds)
    assert verdicts == [Verdict.CORRECT] * 4


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_an_answer_that_is_no_number_is_a_bad_row(tmp_path: Path, kind: pa.DataType) -> None:
    numbers = [float("nan"), float("inf"), float("-inf"), None, 1]
    made = [None if number is None else kind.to_pandas_dtype()(number) for number in numbers]
    survey = table(tmp_path, pa.array(made, kind, from_pandas=False)).survey()
    assert [row.answer for row in survey.rows] == ["1.0"]
    assert [f"row {i}" in told and "'answer'" in told for i, told in enumerate(survey.problems)] == [True] * 4


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_text_that_a_program_writes_for_nothing_is_no_answer(tmp_path: Path, kind: str) -> None:
    missing = ["nan", "NaN", " nan ", "<NA>", "NaT"]
    words = ["None", "none of these", "null", "N/A", "Nan", "nano", "x = nan", "inf"]  # which may be an answer
    survey = (
        source_of(tmp_path, kind, [{"question": "Q", "answer": text} for text in [*missing, *words]]).rows("train").survey()
    )
    assert [row.answer for row in survey.rows] == words
    for text, told in zip(missing, survey.problems, strict=True):
        assert f"'answer' is the text {text.strip()!r}, which stands for a missing value. Fill it in, or drop the row." in told


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_missing_question_or_id_costs_the_row_and_a_missing_kind_does_not(tmp_path: Path, kind: str) -> None:
    columns = Columns(
        question="question", answer="answer", images=None, id="id", kind="kind", modality="modality", solution="why"
    )
    good = {"id": "a", "question": "Q", "answer": "1", "kind": "nan", "modality": "nan", "why": "nan", "level": "nan"}
    items = [good, {**good, "id": "nan"}, {**good, "id": "c", "question": "NaN"}]
    survey = source_of(tmp_path, kind, items, columns=columns).rows("train").survey()
    (row,) = survey.rows
    assert (row.id, row.kind, row.modality, row.solution, row.fields) == ("a", "", "", None, {})
    no_id, no_question = survey.problems
    assert "'id' is the text 'nan'" in no_id
    assert "'question' is the text 'NaN'" in no_question


def test_a_float32_field_is_filtered_as_it_is_written_and_nan_is_no_field(tmp_path: Path) -> None:
    levels = pa.array([0.1, float("nan"), None, 0.1, 2.5], pa.float32(), from_pandas=False)
    columns = Columns(question="question", answer="answer", images=None, kind="kind")
    rows = table(tmp_path, pa.array([1, 2, 3, 4, 5]), columns=columns, level=levels, kind=levels)
    assert [dict(row.fields) for row in rows] == [{"level": "0.1"}, {}, {}, {"level": "0.1"}, {"level": "2.5"}]
    assert [row.kind for row in rows] == ["0.1", "", "", "0.1", "2.5"]
    for wanted in ({"level": 0.1}, {"kind": [0.1]}, {"level": "0.1"}):
        assert [row.answer for row in select(rows, split="train", wanted=wanted, size=None, seed=0).rows] == ["1", "4"]


@pytest.mark.parametrize(
    ("levels", "wanted", "answers"),
    [
        (pa.array([1, None, 2, 1], pa.float64()), 1, "1 4"),
        (pa.array([1, None, 2, 1], pa.float32()), [1, 2.0], "1 3 4"),
        (pa.array([Decimal("0.10"), Decimal("0.20")], pa.decimal128(4, 2)), 0.1, "1"),
        (pa.array(["1.50", "NaN", "x", "1.5"]), 1.5, "4"),  # as it is printed, where there is such a text
        (pa.array(["1.50", "sNaN", "x", "1.500"]), 1.5, "1 4"),
        (pa.array([1e-05, 2.0]), 0.00001, "1"),
    ],
    ids=str,
)
def test_a_filter_by_a_number_finds_the_same_number(tmp_path: Path, levels: pa.Array, wanted: object, answers: str) -> None:
    rows = table(tmp_path, pa.array(range(1, len(levels) + 1)), level=levels)
    chosen = select(rows, split="train", wanted={"level": wanted}, size=None, seed=0).rows
    assert [row.answer for row in chosen] == answers.split()


@pytest.mark.parametrize("wanted", ["1", True, 1.1, "1.00", [1, 3]])
def test_a_filter_by_a_text_or_by_another_number_does_not(tmp_path: Path, wanted: object) -> None:
    rows = table(tmp_path, pa.array([1, 2]), level=pa.array([1.0, 2.0]))
    with pytest.raises(
        ValueError, match=r"dataset\.filter\.train\.level: no row has '.*'\. There are '1\.0' \(1\), '2\.0' \(1\)\."
    ):
        select(rows, split="train", wanted={"level": wanted}, size=None, seed=0)


@pytest.mark.parametrize(
    "value", [datetime.date(2024, 5, 1), datetime.datetime(2024, 5, 1), datetime.timedelta(1), True, [1], b"1"], ids=repr
)
def test_what_is_neither_text_nor_number_is_no_answer_and_a_date_no_field(tmp_path: Path, value: object) -> None:
    rows = table(tmp_path, pa.array([value, value]), when=pa.array([datetime.date(2024, 5, 1)] * 2))
    assert all("neither text nor a number" in told for told in rows.survey().problems)
    assert len(rows.survey().problems) == 2
    (row,) = table(tmp_path, pa.array([1]), when=pa.array([datetime.date(2024, 5, 1)]))
    assert row.fields == {}


NUMBERS = {  # as they are written, and as a text
    "1": "1", "20.0": "20.0", "1.50": "1.5", "0.1": "0.1", "1e3": "1000.0", "1e-05": "1e-05", "1e-400": "1e-400",
    "0.1234567890123456789": "0.1234567890123456789", "12345678901234567.5": "12345678901234567.5",
}  # fmt: skip


def test_a_number_of_json_loses_no_digit(tmp_path: Path) -> None:
    lines = [f'{{"id": {written}, "question": "Q", "answer": {written}, "level": {written}}}\n' for written in NUMBERS]
    (tmp_path / "train.jsonl").write_text("".join(lines))
    rows = JsonlSource(folder=str(tmp_path), files={"train": "train.jsonl"}).rows("train")
    assert [(row.id, row.answer, row.fields) for row in rows] == [(text, text, {"level": text}) for text in NUMBERS.values()]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_what_is_read_of_a_number_of_json_is_that_number(value: Decimal) -> None:
    assert Decimal(str(read_strictly(str(value).encode()))) == value


@pytest.mark.parametrize("kind", TYPED)
def test_holes_among_whole_numbers_are_missing_answers(tmp_path: Path, kind: str) -> None:
    items = [{"id": i, "question": "Q", "answer": answer} for i, answer in enumerate([20, None, 3])]
    survey = source_of(tmp_path, kind, items).rows("train").survey()
    assert [row.answer for row in survey.rows] == ["20", "3"]
    assert ["has no 'answer'" in told for told in survey.problems] == [True]
