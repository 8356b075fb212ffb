from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fake_runs import write_evaluation

from vlm_rl.reports.reading.evaluations import EvaluationReader, Questions, fields_of


def test_any_field_of_a_row_can_be_asked_for(tmp_path: Path) -> None:
    write_evaluation(tmp_path, epoch=1, split="val", setting="pass@1_t0.6", outcome=lambda q, s: True, questions=5)
    (evaluation,) = EvaluationReader().read_folder(tmp_path)
    assert evaluation.questions.names() == ("modality", "kind", "level")
    assert evaluation.questions.values("level") == ["0", "1", "2", "0", "1"]
    assert evaluation.questions.values("modality") == ["text"] * 4 + ["vision"]
    assert evaluation.questions.values("nothing") == [""] * 5


def test_files_from_before_there_were_fields_have_none(tmp_path: Path) -> None:
    path = write_evaluation(tmp_path, epoch=1, split="val", setting="pass@1_t0.6", outcome=lambda q, s: True, questions=2)
    pq.write_table(pq.read_table(path).drop_columns(["fields"]), path)
    reader = EvaluationReader()
    (evaluation,) = reader.read_folder(tmp_path)
    assert reader.problems == []
    assert evaluation.questions.names() == ("modality", "kind")


def test_a_row_lacks_what_only_other_rows_have() -> None:
    questions = Questions(
        row_id=("a", "b"), image_id=("", "i"), kind=("", ""), modality=("", ""), fields=('{"source": "book"}', "{}")
    )
    assert questions.names() == ("source",)
    assert questions.values("source") == ["book", ""]
    assert questions.images() == ["a", "i"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"a"', "[" * 100_000])
def test_what_is_no_json_object_says_nothing(text: str) -> None:
    assert fields_of(text) == {}


def test_values_that_are_no_text_are_written_as_json() -> None:
    assert fields_of('{"a": 1, "b": null, "c": [true], "d": "x"}') == {"a": "1", "b": "null", "c": "[true]", "d": "x"}


def test_the_same_questions_with_other_figures_are_another_thing_asked() -> None:
    intact = Questions(row_id=("a", "b"), image_id=("1", "2"), kind=("", ""), modality=("", ""), fields=("{}", "{}"))
    assert intact.asked == replace(intact, kind=("k", "k")).asked
    assert intact.asked != replace(intact, image_id=("blank-1", "blank-2")).asked
