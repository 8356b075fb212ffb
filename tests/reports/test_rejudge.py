"""Other verdicts and another k from what is stored: no new run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fake_runs import sample_row, write_completions, write_evaluation, write_manifest, write_rows

from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.other_settings import with_setting
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.rejudge import Judging
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.rewards.judge import Judge, Verdict

SETTING = "pass@1_t0.6"


class Strict:
    """Finds nothing right but the answers of question 1, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []

    def __call__(self, responses: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        self.shown += zip(golds, responses, strict=True)
        return [Verdict.CORRECT if "{5}" in response else Verdict.TIMED_OUT for response in responses]


def study_of(folder: Path) -> Path:
    """One run: three right answers of four, and two training responses, one of them right."""
    run = folder / "s" / "grpo" / "seed-0"
    write_manifest(run, algorithm="grpo", seed=0, arm="a" * 16, vanilla=None)
    write_evaluation(run, epoch=1, split="val", setting=SETTING, outcome=lambda q, s: q > 0, questions=4, samples=2)
    write_completions(run, step=1, rows=[{"number": 1, "correct": True}, {"number": 2, "correct": True}])
    (run / "metrics.jsonl").write_text('{"event": "train", "generation_steps": 1, "epoch": 0.5, "train/accuracy": 1.0}\n')
    return folder / "s"


def read(study: Path, *, judge: Judging | None = None) -> Records:
    return read_records(find_runs([study]), reflection=None, judge=judge)


def test_another_judge_gives_other_verdicts_in_evaluation_and_training(tmp_path: Path) -> None:
    (run,) = read(study_of(tmp_path), judge=Strict()).arms[0].runs
    evaluation = run.evaluations[1, "val", SETTING]
    assert evaluation.num_correct.tolist() == [0, 2, 0, 0]  # question 1 asks for 5
    assert evaluation.verdicts == {"correct": 2, "wrong": 0, "unparsable": 0, "timed_out": 6}
    assert evaluation.num_well_formed.tolist() == [0, 2, 2, 2]  # format is no matter of the judge
    (record,) = run.training
    assert (record["train/accuracy"], record["judge/timed_out"]) == (0.5, 0.5)
    assert record["train/reward"] == 1.0  # what the run learned from
    assert "judged again" in run.run.judge_version


def test_each_distinct_text_is_judged_once(tmp_path: Path) -> None:
    judge = Strict()
    read(study_of(tmp_path), judge=judge)
    assert len(judge.shown) == len(set(judge.shown)) == 4  # 8 samples of 4 questions, and two of these again in training


def test_the_judge_of_today_finds_what_was_stored(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    with Judge() as judge:
        again, stored = (read(study, judge=each).arms[0].runs[0] for each in (judge.judge, None))
        assert not judge.has_workers
    np.testing.assert_array_equal(*(run.evaluations[1, "val", SETTING].num_correct for run in (again, stored)))
    assert again.training == stored.training


def test_judging_again_makes_runs_of_different_judges_comparable(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    other = study / "rloo" / "seed-0"
    write_manifest(other, algorithm="rloo", seed=0, arm="b" * 16, vanilla=None)
    rows = {"questions": 4, "samples": 2, "judge_version": "judge-2"}
    write_evaluation(other, epoch=1, split="val", setting=SETTING, outcome=lambda q, s: True, **rows)
    assert any("judge-1: grpo; judge-2: rloo" in problem for problem in read(study).problems)
    assert not any("judge" in problem for problem in read(study, judge=Strict()).problems)


@pytest.mark.parametrize("right", [0, 1, 3, 8])
def test_pass_at_4_comes_from_eight_stored_samples(tmp_path: Path, right: int) -> None:
    run = tmp_path / "s" / "grpo" / "seed-0"
    write_manifest(run, algorithm="grpo", seed=0, arm="a" * 16, vanilla=None)
    write_evaluation(run, epoch=1, split="val", setting="pass@8_t1.0", outcome=lambda q, s: s < right, questions=1)
    records = with_setting(read(tmp_path / "s"), setting="pass@4_t1.0")
    assert records.settings() == ["pass@8_t1.0", "pass@4_t1.0"]
    by_hand = {0: 0.0, 1: 4 / 8, 3: 1 - (5 / 70), 8: 1.0}[right]  # of 70 draws of 4, C(5, 4) = 5 hold none of three
    assert records.arms[0].runs[0].evaluations[1, "val", "pass@4_t1.0"].accuracy() == pytest.approx(by_hand)


def test_no_setting_is_made_up_from_too_few_samples_or_another_temperature(tmp_path: Path) -> None:
    records = read(study_of(tmp_path))  # two samples at 0.6
    for setting in ("pass@4_t0.6", "pass@2_t1.0"):
        assert with_setting(records, setting=setting).settings() == [SETTING]
    assert with_setting(records, setting="pass@2_t0.6").settings() == ["pass@2_t0.6", SETTING]


def test_what_was_evaluated_under_a_setting_is_not_replaced(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    rows = [sample_row(0, sample=s, correct=False, split="val", setting="x", epoch=1) for s in range(8)]
    path = study / "grpo" / "seed-0" / "evaluations" / "epoch-0001" / "val_pass@4_t0.6.parquet"
    write_rows(path, rows=rows)
    (run,) = with_setting(read(study), setting=SETTING).arms[0].runs
    assert run.evaluations[1, "val", SETTING].questions.row_id == tuple(f"val-{n:04d}" for n in range(4))
