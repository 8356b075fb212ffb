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


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three right answers of four, and two training responses, both of them right."""
    run = write_run(tmp_path, algorithm="grpo")
    (run / "metrics.jsonl").write_text('{"event": "train", "generation_steps": 1, "epoch": 0.5, "train/accuracy": 1.0}\n')
    write_evaluation(run, epoch=1, split="val", setting=SETTING, outcome=lambda q, s: q > 0, questions=4, samples=2)
    write_completions(run, step=1, rows=[{"number": 1, "correct": True}, {"number": 2, "correct": True}])
    return run


def write_run(folder: Path, *, algorithm: str) -> Path:
    run = folder / "s" / algorithm / "seed-0"
    write_manifest(run, algorithm=algorithm, seed=0, arm=algorithm.encode().hex().ljust(16, "f"), vanilla=None)
    (run / "metrics.jsonl").touch()
    return run


def read(study: Path, *, judge: Judging | None = None) -> Records:
    return read_records(find_runs([study]), reflection=None, judge=judge)


def test_another_judge_gives_other_verdicts_and_sees_each_distinct_text_once(run: Path) -> None:
    """Question 1 asks for 5; format and the reward that the run learned from are no matter of the judge."""
    judge = Strict()
    (records,) = read(run, judge=judge).arms[0].runs
    found = records.evaluations[1, "val", SETTING]
    assert (found.num_correct.tolist(), found.num_well_formed.tolist()) == ([0, 2, 0, 0], [0, 2, 2, 2])
    assert found.verdicts == {"correct": 2, "wrong": 0, "unparsable": 0, "timed_out": 6}
    (record,) = records.training
    assert [record[key] for key in ("train/accuracy", "judge/timed_out", "train/reward")] == [0.5, 0.5, 1.0]
    assert "judged again" in records.run.judge_version
    assert len(judge.shown) == len(set(judge.shown)) == 4  # 8 samples of 4 questions, and two of these again in training


def test_the_judge_of_today_finds_what_was_stored(run: Path) -> None:
    with Judge() as judge:
        again, stored = (read(run, judge=each).arms[0].runs[0] for each in (judge.judge, None))
        assert not judge._pool.is_started
    np.testing.assert_array_equal(*(one.evaluations[1, "val", SETTING].num_correct for one in (again, stored)))
    assert again.training == stored.training


def test_judging_again_makes_runs_of_different_judges_comparable(run: Path) -> None:
    rows = {"questions": 4, "samples": 2, "judge_version": "judge-2"}
    other = write_run(run.parents[2], algorithm="rloo")
    write_evaluation(other, epoch=1, split="val", setting=SETTING, outcome=lambda q, s: True, **rows)
    assert any("judge-1: grpo; judge-2: rloo" in problem for problem in read(run.parents[1]).problems)
    assert not any("judge" in problem for problem in read(run.parents[1], judge=Strict()).problems)


def test_pass_at_4_comes_from_eight_stored_samples(tmp_path: Path) -> None:
    """Of 70 draws of 4 of eight, C(5, 4) = 5 hold none of three right ones."""
    right, run = (0, 1, 3, 8), write_run(tmp_path, algorithm="grpo")
    write_evaluation(run, epoch=1, split="val", setting="pass@8_t1.0", outcome=lambda q, s: s < right[q], questions=4)
    records = with_setting(read(run), setting="pass@4_t1.0")
    assert records.settings() == ["pass@8_t1.0", "pass@4_t1.0"]
    scores = records.arms[0].runs[0].evaluations[1, "val", "pass@4_t1.0"].scores()
    np.testing.assert_allclose(scores, [0.0, 4 / 8, 1 - (5 / 70), 1.0])


def test_a_setting_is_made_from_enough_samples_of_its_temperature_and_replaces_no_other(run: Path) -> None:
    records = read(run)  # two samples at 0.6
    for setting in ("pass@4_t0.6", "pass@2_t1.0"):
        assert with_setting(records, setting=setting).settings() == [SETTING]
    assert with_setting(records, setting="pass@2_t0.6").settings() == ["pass@2_t0.6", SETTING]
    rows = [sample_row(0, sample=s, correct=False, split="val", setting="x", epoch=1) for s in range(8)]
    write_rows(run / "evaluations" / "epoch-0001" / "val_pass@4_t0.6.parquet", rows=rows)
    (evaluated,) = with_setting(read(run), setting=SETTING).arms[0].runs
    assert evaluated.evaluations[1, "val", SETTING].questions.row_id == tuple(f"val-{n:04d}" for n in range(4))


OF_OLD = (  # response, stored verdict, verdict of today
    ("\\boxed{5}", "correct", "correct"),
    ("\\boxed{5}", "wrong", "correct"),
    ("\\boxed{6}", "correct", "wrong"),
    ("\\boxed{6}", "wrong", "wrong"),
    ("It is five.", "wrong", "unparsable"),  # no answer at all: another verdict, the same accuracy
    ("It is five.", "unparsable", "unparsable"),
)


@pytest.fixture
def of_old(tmp_path: Path) -> Path:
    """Two arms of judge-0. grpo: 6 evaluated samples, of which 2 were taken wrongly; rloo: as it should be."""
    same = {"correct": True, "split": "val", "setting": SETTING, "epoch": 1, "answer": "5", "judge_version": "judge-0"}
    for algorithm in ("rloo", "grpo"):
        run, rows = write_run(tmp_path, algorithm=algorithm), []
        for number, (response, stored, today) in enumerate(OF_OLD):
            verdict = stored if algorithm == "grpo" else today
            row = sample_row(1, sample=number, **same, response=response, verdict=verdict)
            rows.append(row | {"accuracy": float(verdict == "correct")})
        write_rows(run / "evaluations" / "epoch-0001" / f"val_{SETTING}.parquet", rows=rows)
    completions = [{"number": 1, "correct": True, "verdict": "wrong", "accuracy": 0.0}, {"number": 2, "correct": True}]
    write_completions(run, step=1, rows=completions)
    return tmp_path / "s"


def test_what_judging_again_changed_is_counted_by_arm_with_a_few_examples(of_old: Path) -> None:
    with Judge() as judge:
        records = read(of_old, judge=judge.judge)
    counts, examples = judged_again_table(records).rows, changed_verdicts_table(records).rows
    keys = ("arm", "responses", "stored_judge", "judged", "to_wrong", "to_right", "other")
    assert {tuple(row[key] for key in keys) for row in counts} == {
        ("grpo", "evaluations", "judge-0", 6, 1, 1, 1),
        ("grpo", "training", "", 2, 0, 1, 0),
        ("rloo", "evaluations", "judge-0", 6, 0, 0, 0),
    }
    said = "grpo: judged again, 3 of 8 stored verdicts changed between right and not right: 1 were right and are not now, 2 are right"
    assert [sentence[: len(said)] for sentence in judged_again_problems(records)] == [said]
    assert [tuple(row[name] for name in ("responses", "gold", "answer", "stored", "now")) for row in examples] == [
        ("evaluations", "5", "5", "wrong", "correct"),
        ("evaluations", "5", "6", "correct", "wrong"),
        ("evaluations", "5", "It is five.", "wrong", "unparsable"),
        ("training", "5", "5", "wrong", "correct"),
    ]


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


def test_a_report_says_what_changed_and_nothing_of_stored_verdicts(of_old: Path) -> None:
    stored = read(of_old)
    assert (judged_again_table(stored).rows, changed_verdicts_table(stored).rows, [*judged_again_problems(stored)]) == (
        (),
        (),
        [],
    )
    with Judge() as judge:
        page = make_report([of_old], out=None, settings=usual_settings(), judge=judge.judge)
    numbers = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    assert [len(numbers["tables"][name]) for name in ("judged_again", "changed_verdicts")] == [3, 4]
    assert ["judged again, 3 of 8" in text for text in ("".join(numbers["problems"]), page.read_text(encoding="utf-8"))] == [
        True
    ] * 2
