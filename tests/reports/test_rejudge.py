"""Other verdicts and another k from what is stored: no new run."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fake_runs import sample_row, write_completions, write_evaluation, write_manifest, write_rows
from usual import usual_settings

from vlm_rl.reports.reading.arms import Records, with_setting
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.rejudge import CHANGED_KEPT, LONGEST_SHOWN, Judging, VerdictChanges, changes
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.report import make_report
from vlm_rl.reports.tables.run_tables import changed_verdicts_table, judged_again_problems, judged_again_table
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
        assert not judge._pool.is_started
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


BOXES = {"gold": "5", "right": "\\boxed{5}", "wrong": "\\boxed{6}", "words": "It is five."}


def stored_by_an_older_judge(folder: Path) -> Path:
    """Two arms of judge-0. grpo: 6 evaluated samples, of which 2 were taken wrongly; rloo: as it should be."""
    told = [
        ("right", "correct"),
        ("right", "wrong"),  # right only now
        ("wrong", "correct"),  # right before, now not
        ("wrong", "wrong"),
        ("words", "wrong"),  # no answer at all: another verdict, the same accuracy
        ("words", "unparsable"),
    ]
    for arm, algorithm in (("a", "grpo"), ("b", "rloo")):
        run = folder / "s" / algorithm / "seed-0"
        write_manifest(run, algorithm=algorithm, seed=0, arm=arm * 16, vanilla=None)
        (run / "metrics.jsonl").write_text("")
        right = {"right": "correct", "wrong": "wrong", "words": "unparsable"}
        rows = [
            sample_row(1, sample=number, correct=verdict == "correct", split="val", setting=SETTING, epoch=1)
            | {"verdict": verdict, "answer": BOXES["gold"], "response": BOXES[text], "judge_version": "judge-0"}
            for number, (text, stored) in enumerate(told)
            for verdict in [stored if algorithm == "grpo" else right[text]]
        ]
        write_rows(run / "evaluations" / "epoch-0001" / f"val_{SETTING}.parquet", rows=rows)
    completions = [{"number": 1, "correct": True, "verdict": "wrong", "accuracy": 0.0}, {"number": 2, "correct": True}]
    write_completions(folder / "s" / "grpo" / "seed-0", step=1, rows=completions)
    return folder / "s"


def test_what_judging_again_changed_is_counted_by_arm(tmp_path: Path) -> None:
    with Judge() as judge:
        records = read(stored_by_an_older_judge(tmp_path), judge=judge.judge)
    rows = {(str(row["arm"]), str(row["responses"])): row for row in judged_again_table(records).rows}
    counted = {key: tuple(row[name] for name in ("judged", "to_wrong", "to_right", "other")) for key, row in rows.items()}
    assert counted == {
        ("grpo", "evaluations"): (6, 1, 1, 1),
        ("grpo", "training"): (2, 0, 1, 0),
        ("rloo", "evaluations"): (6, 0, 0, 0),
    }
    assert rows["grpo", "evaluations"]["stored_judge"] == "judge-0"
    (sentence,) = judged_again_problems(records)
    assert sentence.startswith(
        "grpo: judged again, 3 of 8 stored verdicts changed between right and not right: 1 were right and are not now, 2 are right"
    )


def test_a_few_changed_verdicts_are_shown_with_gold_and_answer(tmp_path: Path) -> None:
    with Judge() as judge:
        records = read(stored_by_an_older_judge(tmp_path), judge=judge.judge)
    rows = changed_verdicts_table(records).rows
    shown = [tuple(row[name] for name in ("responses", "gold", "answer", "stored", "now")) for row in rows]
    assert shown == [
        ("evaluations", "5", "5", "wrong", "correct"),
        ("evaluations", "5", "6", "correct", "wrong"),
        ("evaluations", "5", "It is five.", "wrong", "unparsable"),
        ("training", "5", "5", "wrong", "correct"),
    ]


def test_stored_verdicts_say_nothing_of_judging_again(tmp_path: Path) -> None:
    records = read(stored_by_an_older_judge(tmp_path))
    assert judged_again_table(records).rows == changed_verdicts_table(records).rows == ()
    assert list(judged_again_problems(records)) == []


def test_examples_are_few_each_once_and_those_that_change_an_accuracy_first() -> None:
    def file(answers: Sequence[str], *, stored: str, now: str) -> VerdictChanges:
        rows = {"answer": ["1"] * len(answers), "response": [f"\\boxed{{{answer}}}" for answer in answers]}
        before, after = (pa.table(rows | {"verdict": [verdict] * len(answers)}) for verdict in (stored, now))
        return changes(before, again=after)

    idle = file(["7"] * 30 + [str(number) for number in range(30)], stored="unparsable", now="wrong")
    assert (idle.num_judged, idle.num_other, len(idle.examples)) == (60, 60, CHANGED_KEPT)
    total = idle + file(["9", "9", "x" * 9000], stored="correct", now="timed_out")
    assert (total.num_judged, total.num_to_wrong, total.num_other) == (63, 3, 60)
    assert [len(example.answer) for example in total.examples[:2]] == [1, LONGEST_SHOWN]
    assert [example.stored for example in total.examples[:3]] == ["correct", "correct", "unparsable"]


def test_the_page_and_the_numbers_of_a_report_say_what_changed(tmp_path: Path) -> None:
    study = stored_by_an_older_judge(tmp_path)
    with Judge() as judge:
        page = make_report([study], out=None, settings=usual_settings(), judge=judge.judge)
    numbers = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    assert [row["to_right"] for row in numbers["tables"]["judged_again"]] == [1, 1, 0]
    assert len(numbers["tables"]["changed_verdicts"]) == 4
    assert any("judged again, 3 of 8" in problem for problem in numbers["problems"])
    assert "judged again, 3 of 8" in page.read_text(encoding="utf-8")
    plain = make_report([study], out=None, settings=usual_settings())
    assert "judged_again" not in json.loads(plain.with_name("report.json").read_text(encoding="utf-8"))["tables"]
