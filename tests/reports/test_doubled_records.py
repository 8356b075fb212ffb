"""Two processes that trained into one folder leave records twice: a report names the file, and what it took."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_runs import write_completions, write_study
from hand_runs import records_of

RUN = "default/seed-0"
EVALUATION = "evaluations/epoch-0001/val_pass@1_t0.6.parquet"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    study = write_study(tmp_path / "s", seeds=(0,), epochs=1, questions=2)
    write_completions(study / RUN, step=1, rows=[{"number": 1, "sample": place, "correct": False} for place in range(2)])
    return study


def problems_about(study: Path, name: str) -> list[str]:
    return [problem for problem in records_of(study).problems if str(study / RUN / name) in problem]


def test_lines_that_are_there_twice_are_counted_and_the_first_is_named(study: Path) -> None:
    file = study / RUN / "metrics.jsonl"
    assert problems_about(study, "metrics.jsonl") == []
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines, *lines[1:3]]))
    (problem,) = problems_about(study, "metrics.jsonl")
    assert "2 events of a generation step stand there twice, the first of them train of step 2." in problem
    assert "The last line of each is shown; costs count both." in problem


@pytest.mark.parametrize(
    ("name", "taken"),
    [(EVALUATION, "It is left out."), ("completions/step-000001.parquet", "Its step is taken as it was logged.")],
)
def test_a_file_with_a_sample_twice_is_named_with_what_is_taken_for_it(study: Path, name: str, taken: str) -> None:
    file = study / RUN / name
    assert problems_about(study, name) == []
    table = pq.read_table(file)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), file)
    assert problems_about(study, name) == [f"{file} has 1 rows whose row_id and sample are there twice. {taken}"]
