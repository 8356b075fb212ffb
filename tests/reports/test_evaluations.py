"""Evaluation files by hand: sums by question, whatever else is known of a row, and files that are left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_runs import sample_row, write_evaluation, write_rows

from vlm_rl.reports.reading.evaluations import Evaluation, EvaluationReader, Questions, fields_of

SETTING = "pass@1_t0.6"


def write(run: Path, *, epoch: int = 1, setting: str = SETTING, questions: int = 3, samples: int | None = None) -> Path:
    """An evaluation on val, in which of question q the first q samples are right."""
    counts = {"questions": questions, "samples": samples}
    return write_evaluation(run, epoch=epoch, split="val", setting=setting, outcome=lambda q, s: s < q, **counts)


def only(run: Path) -> Evaluation:
    (evaluation,) = EvaluationReader().read_folder(run)
    return evaluation


def test_samples_are_summed_by_question_and_scored_by_the_settings_k(tmp_path: Path) -> None:
    write(tmp_path, epoch=3, setting="pass@8_t1.0", samples=10)
    found = only(tmp_path)
    assert (found.epoch, found.split, found.setting) == (3, "val", "pass@8_t1.0")
    assert (found.questions.row_id, found.num_correct.tolist()) == (("val-0000", "val-0001", "val-0002"), [0, 1, 2])
    np.testing.assert_allclose(found.scores(), [0, 0.8, 1 - (2 * 1) / (10 * 9)])  # both right ones among the two left out
    assert found.accuracy() == pytest.approx((0 + 0.8 + 1 - 2 / 90) / 3)


def test_format_verdicts_and_judges_by_hand(tmp_path: Path) -> None:
    """Judges stand in the rows: the manifest only says which one there was when the run was last resumed."""
    rows = [
        {"correct": True},
        {"correct": True},
        {"correct": True, "finish_reason": "length", "judge_version": "judge-2"},
        {"correct": False, "boxed": True, "finish_reason": "stop", "verdict": "wrong"},
        {"correct": False, "boxed": False, "finish_reason": "length", "verdict": "unparsable"},
    ]
    same = {"split": "test", "setting": SETTING, "epoch": 0}
    filled = [sample_row(1, **same, **{"sample": place} | row) for place, row in enumerate(rows)]
    write_rows(tmp_path / "evaluations" / "epoch-0000" / f"test_{SETTING}.parquet", rows=filled)
    found, counts = only(tmp_path), only(tmp_path).format_counts()
    assert (counts.num_responses, counts.num_well_formed, counts.num_correct, counts.num_well_formed_correct) == (5, 3, 3, 2)
    assert found.verdicts == {"correct": 3, "wrong": 1, "unparsable": 1, "timed_out": 0}
    assert (found.num_truncated, found.num_unboxed, found.judge_versions) == (2, 1, ("judge-1", "judge-2"))


def test_a_file_that_is_no_whole_evaluation_is_named_and_left_out(tmp_path: Path) -> None:
    kept = write(tmp_path)
    kept.with_name("a_pass@1_t0.6.parquet").write_bytes(kept.read_bytes()[:100])
    kept.with_name("b_pass@8_t0.6.parquet").write_bytes(kept.read_bytes())
    pq.write_table(pq.read_table(kept).slice(0, 0), kept.with_name("c_pass@1_t0.6.parquet"))
    kept.with_name("strange.parquet").write_bytes(b"")
    reader = EvaluationReader()
    assert [evaluation.path for evaluation in reader.read_folder(tmp_path)] == [kept]
    said = (
        "cannot be read",
        "has a question with 4 samples, too few for its k",
        "has no rows",
        "is not named <split>_<setting>",
    )
    found = zip(said, reader.problems, strict=True)
    assert [why for why, problem in found if why not in problem or "It is left out." not in problem] == []


def test_any_field_of_a_row_can_be_asked_for(tmp_path: Path) -> None:
    write(tmp_path, questions=5)
    asked = only(tmp_path).questions
    values = {"level": ["0", "1", "2", "0", "1"], "modality": ["text"] * 4 + ["vision"], "nothing": [""] * 5}
    assert {name: asked.values(name) for name in values} == values


def test_a_row_lacks_what_only_other_rows_have_and_other_figures_are_another_thing_asked() -> None:
    nothing, fields = ("", ""), ('{"source": "book"}', "{}")
    asked = Questions(row_id=("a", "b"), image_id=("", "i"), kind=nothing, modality=nothing, fields=fields)
    assert (asked.values("source"), asked.images()) == (["book", ""], ["a", "i"])
    same, other = replace(asked, kind=("k", "k")), replace(asked, image_id=("", "blank-i"))
    assert [asked.asked == each.asked for each in (same, other)] == [True, False]


def test_fields_are_texts_or_written_as_json_and_what_is_no_json_object_says_nothing() -> None:
    assert fields_of('{"a": 1, "b": null, "c": [true], "d": "x"}') == {"a": "1", "b": "null", "c": "[true]", "d": "x"}
    assert [fields_of(text) for text in ("", "{", "[1]", "null", '"a"', "[" * 100_000)] == [{}] * 6
