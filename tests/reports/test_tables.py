import csv
import math
from pathlib import Path

import numpy as np
import pytest
from fake_runs import sample_row, write_evaluation, write_manifest, write_rows, write_study

from vlm_rl.evaluation.reflection import WholeWords
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.accuracy_tables import accuracy_table, breakdown_table, verdict_table
from vlm_rl.reports.arms import Records, arm_labels, read_records
from vlm_rl.reports.curves import accuracy_figure, changing_words, dynamics_figure
from vlm_rl.reports.gain_tables import gain_of, gain_split_table, gain_table
from vlm_rl.reports.run_tables import cost_table, run_table
from vlm_rl.reports.runs import find_runs, read_run
from vlm_rl.reports.summary import summarise
from vlm_rl.reports.table import Cell, Row

SETTING = "pass@1_t0.6"
VANILLA = "vanilla-1a2b3c4d"


def records_of(study: Path) -> Records:
    return read_records(find_runs([study]), reflection=None)


def estimate(cell: Cell) -> float:
    assert isinstance(cell, Interval)
    return cell.estimate


def write_by_hand(
    study: Path, *, right: dict[tuple[str, int, int], int], vanilla: str | None = VANILLA, **manifest: str
) -> Path:
    """Runs whose number of right answers of ten questions, one sample each, is given by (variant, seed, epoch)."""
    for (variant, seed, epoch), count in right.items():
        run = study / variant / f"seed-{seed}"
        untrained = variant == VANILLA
        algorithm, arm = ("vanilla", "0" * 16) if untrained else (variant, variant.encode().hex().ljust(16, "f"))
        if not (run / "manifest.json").exists():
            write_manifest(run, algorithm=algorithm, seed=seed, arm=arm, vanilla=None if untrained else vanilla, **manifest)
        write_evaluation(
            run, epoch=epoch, split="val", setting=SETTING, outcome=lambda q, s, count=count: q < count, questions=10, samples=1
        )
    return study


BY_HAND = {(VANILLA, 0, 0): 4, (VANILLA, 1, 0): 5, (VANILLA, 2, 0): 3} | {
    ("grpo", seed, epoch): count
    for seed, counts in {0: (6, 8, 7), 1: (5, 7, 9), 2: (7, 6, 8)}.items()
    for epoch, count in enumerate(counts, start=1)
}


def test_vanilla_mean_maximum_and_last_by_hand(tmp_path: Path) -> None:
    (row,) = accuracy_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND))).rows
    assert estimate(row["vanilla"]) == pytest.approx(0.4)
    assert estimate(row["mean"]) == pytest.approx(0.7)  # each seed's mean over epochs is 0.7
    assert estimate(row["max"]) == pytest.approx((0.8 + 0.9 + 0.8) / 3)
    assert estimate(row["last"]) == pytest.approx(0.8)
    assert (row["last_epoch"], row["seeds"]) == (3, 3)
    assert math.isnan(estimate(row["lucky_max"]))  # one stored sample of a question


def test_the_gain_is_paired_by_seed_and_its_interval_is_by_hand(tmp_path: Path) -> None:
    (row,) = gain_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND))).rows
    gain = row["gain"]
    assert isinstance(gain, Interval)
    assert gain.estimate == pytest.approx(0.4)  # 0.3, 0.4, 0.5
    assert gain.high - gain.estimate == pytest.approx(4.302652729911275 * 0.1 / math.sqrt(3))
    new_questions = row["new_questions"]
    assert isinstance(new_questions, Interval)
    assert new_questions.high >= gain.high


def test_seeds_with_different_questions_still_have_the_interval_over_seeds(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right=BY_HAND)
    for variant, epoch, count in ((VANILLA, 0, 4), ("grpo", 3, 7)):
        path = study / variant / "seed-0" / "evaluations" / f"epoch-{epoch:04d}" / f"val_{SETTING}.parquet"
        rows = [
            sample_row(q, sample=0, correct=q < count, split="val", setting=SETTING, epoch=epoch, row_id=f"other-{q}")
            for q in range(10)
        ]
        write_rows(path, rows=rows)
    (row,) = gain_table(records_of(study)).rows
    assert estimate(row["gain"]) == pytest.approx(0.4)
    assert row["new_questions"] is None


def test_the_summary_says_what_was_measured_and_never_gives_a_verdict(tmp_path: Path) -> None:
    (sentence,) = summarise(records_of(write_by_hand(tmp_path / "s", right=BY_HAND)), setting=SETTING)
    assert sentence == (
        "grpo: accuracy on val (pass@1, T = 0.6) rose from 40.0 % to 80.0 % at epoch 3, +40.0 points, "
        "95 % t-interval over 3 seeds [15.2, 64.8]."
    )


def test_one_seed_is_this_run_only(tmp_path: Path) -> None:
    right = {(VANILLA, 0, 0): 5, ("grpo", 0, 1): 4}
    records = records_of(write_by_hand(tmp_path / "s", right=right))
    (sentence,) = summarise(records, setting=SETTING)
    assert sentence.endswith("fell from 50.0 % to 40.0 % at epoch 1, -10.0 points, this run only.")
    (row,) = gain_table(records).rows
    assert isinstance(row["this_run_only"], Interval)
    assert not math.isnan(row["this_run_only"].low)


def test_an_arm_without_an_untrained_model_has_no_gain_and_says_so(tmp_path: Path) -> None:
    records = records_of(write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 4, ("grpo", 1, 1): 6}, vanilla=None))
    assert gain_of(records.arms[0], split="val", setting=SETTING) is None
    assert gain_table(records).rows == gain_split_table(records, setting=SETTING).rows == ()
    (sentence,) = summarise(records, setting=SETTING)
    assert "accuracy on val (pass@1, T = 0.6) is 50.0 % at epoch 1" in sentence
    assert "no gain is given" in sentence
    assert estimate(accuracy_table(records).rows[0]["last"]) == pytest.approx(0.5)


def test_unfinished_runs_are_named_and_left_out_of_means(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={key: count for key, count in BY_HAND.items() if key[1] < 2})
    write_by_hand(study, right={("grpo", 2, 1): 0}, status="running")
    records = records_of(study)
    (row,) = accuracy_table(records).rows
    assert row["seeds"] == 2
    assert row["last_epoch"] == 3
    assert "grpo: unfinished runs are seed 2, left out of means and tables." in summarise(records, setting=SETTING)
    status = {row["run"]: row["status"] for row in run_table(records).rows}
    assert status["s/grpo/seed-2"] == "unfinished, left out"


def test_where_no_run_is_finished_the_last_common_epoch_speaks(tmp_path: Path) -> None:
    right = {("grpo", 0, 1): 4, ("grpo", 0, 2): 9, ("grpo", 1, 1): 6}
    records = records_of(write_by_hand(tmp_path / "s", right=right, status="running"))
    (row,) = accuracy_table(records).rows
    assert row["last_epoch"] == 1
    assert estimate(row["last"]) == pytest.approx(0.5)


def test_the_lucky_maximum_lies_above_the_untrained_accuracy(tmp_path: Path) -> None:
    records = records_of(write_study(tmp_path / "s", epochs=3))
    rows = [row for row in accuracy_table(records).rows if row["setting"] == SETTING]
    assert rows
    assert all(estimate(row["lucky_max"]) > estimate(row["vanilla"]) for row in rows)
    again = accuracy_table(records).rows
    assert [estimate(row["lucky_max"]) for row in again if row["setting"] == SETTING] == [
        estimate(row["lucky_max"]) for row in rows
    ]


def test_the_split_of_the_gain_adds_up_in_the_table(tmp_path: Path) -> None:
    for row in gain_split_table(records_of(write_study(tmp_path / "s", epochs=2)), setting=SETTING).rows:
        parts = [row[name] for name in ("format", "reasoning", "outside")]
        assert sum(part for part in parts if isinstance(part, float)) == pytest.approx(row["gain"])


def test_kinds_and_modalities_are_counted_apart(tmp_path: Path) -> None:
    rows = breakdown_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND)), setting=SETTING).rows
    by_value: dict[Cell, Row] = {row["value"]: row for row in rows}
    assert list(by_value) == ["text", "vision", "angles", "rectangles", "segments", "triangles"]
    assert by_value["vision"]["questions"] == 4  # questions 4 to 7 of ten
    assert estimate(by_value["vision"]["last"]) == pytest.approx((3 / 4 + 4 / 4 + 4 / 4) / 3)  # 7, 9, 8 right: 4-6, 4-7, 4-7


def test_verdicts_are_counted_over_seeds(tmp_path: Path) -> None:
    before, after = verdict_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND)), setting=SETTING).rows
    assert (before["samples"], before["correct"], before["epoch"]) == (30, 12, 0)
    assert (after["samples"], after["correct"], after["epoch"]) == (30, 24, 3)


def test_cost_is_summed_over_a_run_and_averaged_over_seeds(tmp_path: Path) -> None:
    row = cost_table(records_of(write_study(tmp_path / "s", epochs=2))).rows[0]
    assert estimate(row["tokens"]) == 10_000  # ten steps of 1000 tokens
    assert estimate(row["step4_policy_update_seconds"]) == 30.0
    assert estimate(row["seconds"]) == 70.0  # evaluation was not measured
    assert estimate(row["peak_bytes"]) == 2**30 + 10


def test_labels_are_as_short_as_they_tell_arms_apart(tmp_path: Path) -> None:
    runs = []
    for study, variant, algorithm, arm in (
        ("a", "x", "sft", "1"),
        ("a", "x2", "grpo", "2"),
        ("a", "y", "grpo", "3"),
        ("b", "y", "grpo", "4"),
    ):
        folder = tmp_path / study / variant / "seed-0"
        write_manifest(folder, algorithm=algorithm, seed=0, arm=arm * 16, vanilla=None)
        runs.append(read_run(folder))
    assert arm_labels(runs) == ["sft", "grpo (x2)", "grpo (a/y)", "grpo (b/y)"]


def test_a_run_that_repeats_arm_and_seed_is_left_out_and_other_judges_are_named(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 4})
    write_by_hand(tmp_path / "t", right={("grpo", 0, 1): 5, ("rloo", 0, 1): 5}, judge_version="judge-2")
    records = read_records(find_runs([tmp_path / "s", tmp_path / "t"]), reflection=None)
    assert len(records.arms) == 2
    assert any("t/grpo/seed-0 repeats s/grpo/seed-0" in problem for problem in records.problems)
    assert any("different judge versions (judge-1, judge-2)" in problem for problem in records.problems)


def test_fig_5_begins_at_the_untrained_model(tmp_path: Path) -> None:
    (panel,) = accuracy_figure(records_of(write_by_hand(tmp_path / "s", right=BY_HAND))).panels
    (line,) = panel.lines
    np.testing.assert_allclose(line.x, [0, 1, 2, 3])
    np.testing.assert_allclose(line.mean(), [0.4, 0.6, 0.7, 0.8])
    np.testing.assert_allclose(line.spread()[0], 0.1)
    assert panel.baseline == pytest.approx(0.4)
    assert panel.x_label == "epoch"


def test_fig_4_holds_the_panels_of_the_paper_and_the_words_that_change_most(tmp_path: Path) -> None:
    records = records_of(write_study(tmp_path / "s", epochs=4))
    assert [panel.title for panel in dynamics_figure(records).panels] == [
        "Training accuracy",
        "Response length",
        "reflection_ratio",
        "correct_ratio_in_reflection_texts",
        "“verify”",
        "“wait”",
    ]
    accuracy, _, _, ratio, *_ = dynamics_figure(records).panels
    np.testing.assert_allclose(accuracy.lines[0].x, [1, 2, 3, 4])
    assert np.isfinite(ratio.lines[0].mean()).all()
    assert ratio.lines[0].x.size == 15
    assert changing_words(records, count=1) == ["reflection/word/verify"]


def test_other_reflection_words_are_counted_in_the_completions(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s", seeds=(0,), epochs=1, questions=2)
    right = sample_row(0, sample=0, correct=True, split="train", setting="rollout", epoch=0.2, response="Hmm, hmm. So 3.")
    wrong = sample_row(1, sample=0, correct=False, split="train", setting="rollout", epoch=0.2, response="Wait. 4")
    write_rows(study / "default" / "seed-0" / "completions" / "step-000001.parquet", rows=[right, wrong])
    records = read_records(find_runs([study / "default"]), reflection=WholeWords(words=["hmm"]))
    first, second, *_ = records.arms[0].runs[0].training
    assert first["reflection/word/hmm"] == 2
    assert first["reflection/correct_ratio_in_reflection_texts"] == 1.0
    assert "reflection/word/wait" not in first
    assert not any(key.startswith("reflection/") for key in second)


def test_a_table_becomes_csv_with_the_ends_of_its_intervals(tmp_path: Path) -> None:
    accuracy_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND))).write_csv(tmp_path / "accuracy.csv")
    (row,) = csv.DictReader((tmp_path / "accuracy.csv").open())
    assert float(row["last"]) == pytest.approx(0.8)
    assert row["last_seeds"] == "3"
    assert float(row["last_low"]) < 0.8 < float(row["last_high"])
    assert row["lucky_max"] == ""
