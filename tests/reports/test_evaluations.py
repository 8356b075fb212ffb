from pathlib import Path

import numpy as np
import pytest
from fake_runs import sample_row, write_evaluation, write_rows

from vlm_rl.reports.reading.evaluations import EvaluationReader


def test_samples_are_summed_by_question_and_scored_by_the_settings_k(tmp_path: Path) -> None:
    write_evaluation(tmp_path, epoch=3, split="val", setting="pass@8_t1.0", outcome=lambda q, s: s < q, questions=3, samples=10)
    (evaluation,) = EvaluationReader().read_folder(tmp_path)
    assert (evaluation.epoch, evaluation.split, evaluation.setting) == (3, "val", "pass@8_t1.0")
    assert evaluation.questions.row_id == ("val-0000", "val-0001", "val-0002")
    np.testing.assert_array_equal(evaluation.num_correct, [0, 1, 2])
    np.testing.assert_allclose(evaluation.scores(), [0, 0.8, 1 - (2 * 1) / (10 * 9)])  # both right ones among the two left out
    assert evaluation.accuracy() == pytest.approx((0 + 0.8 + 1 - 2 / 90) / 3)


def test_format_and_verdicts_by_hand(tmp_path: Path) -> None:
    rows = [
        {"correct": True},
        {"correct": True, "finish_reason": "length"},
        {"correct": False, "boxed": True, "finish_reason": "stop", "verdict": "wrong"},
        {"correct": False, "boxed": False, "finish_reason": "length", "verdict": "unparsable"},
    ]
    path = tmp_path / "evaluations" / "epoch-0000" / "test_pass@1_t0.6.parquet"
    written = [sample_row(1, sample=i, split="test", setting="pass@1_t0.6", epoch=0, **row) for i, row in enumerate(rows)]
    write_rows(path, rows=written)
    (evaluation,) = EvaluationReader().read_folder(tmp_path)
    counts = evaluation.format_counts()
    assert (counts.num_responses, counts.num_well_formed, counts.num_correct, counts.num_well_formed_correct) == (4, 2, 2, 1)
    assert evaluation.verdicts == {"correct": 2, "wrong": 1, "unparsable": 1, "timed_out": 0}
    assert (evaluation.num_truncated, evaluation.num_unboxed) == (2, 1)


def test_a_half_written_file_is_named_and_left_out(tmp_path: Path) -> None:
    kept = write_evaluation(tmp_path, epoch=1, split="val", setting="pass@1_t0.6", outcome=lambda q, s: True, questions=2)
    kept.with_name("test_pass@1_t0.6.parquet").write_bytes(kept.read_bytes()[:100])
    kept.with_name("strange.parquet").write_bytes(b"")
    reader = EvaluationReader()
    assert [evaluation.path for evaluation in reader.read_folder(tmp_path)] == [kept]
    assert len(reader.problems) == 2


def test_evaluations_of_the_same_questions_share_them(tmp_path: Path) -> None:
    for epoch in (1, 2):
        write_evaluation(tmp_path, epoch=epoch, split="val", setting="pass@1_t0.6", outcome=lambda q, s: True, questions=3)
    first, second = EvaluationReader().read_folder(tmp_path)
    assert first.questions is second.questions


def test_the_judges_of_a_file_are_read_from_its_rows(tmp_path: Path) -> None:
    """The manifest only says which judge there was when the run was last resumed."""
    path = tmp_path / "evaluations" / "epoch-0000" / "test_pass@1_t0.6.parquet"
    same = {"correct": True, "split": "test", "setting": "pass@1_t0.6", "epoch": 0}
    write_rows(path, rows=[sample_row(n, sample=0, judge_version=f"judge-{n % 2 + 1}", **same) for n in range(4)])
    (evaluation,) = EvaluationReader().read_folder(tmp_path)
    assert evaluation.judge_versions == ("judge-1", "judge-2")
