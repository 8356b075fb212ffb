"""Other verdicts and another k from what is stored: no new run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fake_runs import sample_row, write_completions, write_evaluation, write_manifest, write_rows
from usual import usual_settings

from vlm_rl.reports.composition import content_of
from vlm_rl.reports.reading.arms import Records, with_setting
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.rejudge import CHANGED_KEPT, LONGEST_SHOWN, Judging, VerdictChanges, changes
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.tables.run_tables import changed_verdicts_table, judged_again_problems, judged_again_table
from vlm_rl.rewards.judge import Judge, Verdict

SETTING = "pass@1_t0.6"


class Strict:
    """Finds nothing right but 4, which question 0 does not ask for, and 9; and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []

    def __call__(self, responses: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        self.shown += zip(golds, responses, strict=True)
        return [Verdict.CORRECT if response.endswith(("{4}", "{9}")) else Verdict.TIMED_OUT for response in responses]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Questions 3 to 6 are right and 0 to 2 are not, twice each; and two training responses, both of them right."""
    run = write_run(tmp_path, algorithm="grpo")
    (run / "metrics.jsonl").write_text('{"event": "train", "generation_steps": 1, "epoch": 0.5, "train/accuracy": 1.0}\n')
    write_evaluation(run, epoch=1, split="val", setting=SETTING, outcome=lambda q, s: q > 2, questions=7, samples=2)
    write_completions(run, step=1, rows=[{"number": 3, "correct": True}, {"number": 4, "correct": True}])
    return run


def write_run(folder: Path, *, algorithm: str) -> Path:
    run = folder / "s" / algorithm / "seed-0"
    write_manifest(run, algorithm=algorithm, seed=0, arm=algorithm.encode().hex().ljust(16, "f"), vanilla=None)
    (run / "metrics.jsonl").touch()
    return run


def read(study: Path, *, judge: Judging | None = None) -> Records:
    return read_records(find_runs([study]), reflection=None, judge=judge)


def test_another_judge_gives_other_verdicts_and_sees_each_distinct_text_once(run: Path) -> None:
    """Format, and the reward that the run learned from, are no matter of the judge."""
    judge = Strict()
    (records,) = read(run, judge=judge).arms[0].runs
    found = records.evaluations[1, "val", SETTING]
    assert (found.num_correct.tolist(), found.num_well_formed.tolist()) == ([2, 0, 0, 2, 0, 0, 0], [0, 2, 2, 2, 2, 2, 2])
    assert found.verdicts == {"correct": 4, "wrong": 0, "unparsable": 0, "timed_out": 10}
    (record,) = records.training.records
    assert [record[key] for key in ("train/accuracy", "judge/timed_out", "train/reward")] == [0.5, 0.5, 1.0]
    assert "judged again" in records.run.judge_version
    assert len(judge.shown) == len(set(judge.shown)) == 7  # 14 samples of 7 questions, and two of these again in training


def test_the_judge_of_today_finds_what_was_stored(run: Path) -> None:
    with Judge() as judge:
        again, stored = (read(run, judge=each).arms[0].runs[0] for each in (judge.judge, None))
        assert judge._pool.num_alive == 0
    np.testing.assert_array_equal(*(one.evaluations[1, "val", SETTING].num_correct for one in (again, stored)))
    assert again.training.records == stored.training.records


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
    assert evaluated.evaluations[1, "val", SETTING].questions.row_id == tuple(f"val-{n:04d}" for n in range(7))


def test_what_judging_again_changed_is_counted_by_arm_with_a_few_examples(run: Path) -> None:
    row = sample_row(3, sample=0, correct=True, split="val", setting=SETTING, epoch=1)
    write_rows(
        write_run(run.parents[2], algorithm="rloo") / "evaluations" / "epoch-0001" / f"val_{SETTING}.parquet", rows=[row]
    )
    records, stored = (read(run.parents[1], judge=judge) for judge in (Strict(), None))
    counts, examples = judged_again_table(records).rows, changed_verdicts_table(records).rows
    keys = ("arm", "responses", "stored_judge", "judged", "to_wrong", "to_right", "other")
    assert [tuple(row[key] for key in keys) for row in counts] == [
        ("grpo", "evaluations", "judge-1", 14, 6, 2, 4),
        ("grpo", "training", "", 2, 1, 0, 0),
        ("rloo", "evaluations", "judge-1", 1, 0, 0, 0),
    ]
    said = "grpo: judged again, 9 of 16 stored verdicts changed between right and not right: 7 were right and are not now, 2 are right"
    assert [sentence[: len(said)] for sentence in judged_again_problems(records)] == [said]
    assert [tuple(row[name] for name in ("responses", "gold", "answer", "stored", "now")) for row in examples] == [
        ("evaluations", "3", "4", "unparsable", "correct"),
        *(("evaluations", gold, gold, "correct", "timed out") for gold in ("11", "13", "15")),
        ("evaluations", "5", "6", "wrong", "timed out"),
        ("evaluations", "7", "8", "wrong", "timed out"),
        ("training", "11", "11", "correct", "timed out"),
    ]
    assert (judged_again_table(stored).rows, changed_verdicts_table(stored).rows, [*judged_again_problems(stored)]) == (
        (),
        (),
        [],
    )


def changed(*responses: str, stored: str, now: str) -> VerdictChanges:
    rows = {"answer": ["1"] * len(responses), "response": responses}
    before, after = (pa.table(rows | {"verdict": [verdict] * len(responses)}) for verdict in (stored, now))
    return changes(before, again=after)


def test_examples_are_few_each_once_and_those_that_change_an_accuracy_first() -> None:
    idle = changed(*["\\boxed{7}"] * 30, *(f"\\boxed{{{number}}}" for number in range(30)), stored="unparsable", now="wrong")
    assert (idle.num_judged, idle.num_other, len(idle.examples)) == (60, 60, CHANGED_KEPT)
    total = idle + changed(
        "\\boxed{9}", "\\boxed{9}", "\\boxed{" + "x" * 9000 + "}", "It is nine.", stored="correct", now="timed_out"
    )
    assert (total.num_judged, total.num_to_wrong, total.num_other) == (64, 4, 60)
    assert [example.answer for example in total.examples[:3]] == ["9", "x" * LONGEST_SHOWN, "It is nine."]
    assert [example.stored for example in total.examples[:4]] == ["correct", "correct", "correct", "unparsable"]


def test_a_report_says_what_changed(run: Path) -> None:
    content = content_of(read(run.parents[1], judge=Strict()), settings=usual_settings())
    assert {"judged_again", "changed_verdicts"} <= {table.name for table in content.tables}
    assert "judged again, 9 of 16" in "".join(content.problems)
