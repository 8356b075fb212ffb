"""Accuracy by epoch, pass@k, kind and verdict, the paper's Table 3, and gains paired by seed and split into format and reasoning:
all by hand. rliable's aggregates: test_bootstrap.py and here, who has a row.
"""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from case_files import cases
from fake_runs import sample_row, write_rows
from hand_runs import BY_HAND, ENDPOINT, SETTING, VANILLA, cells_of, ends, estimate, estimates, records_of, write_by_hand
from hand_training import run_of

from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.tables.accuracy_tables import accuracy_table, breakdown_table, pass_at_table, verdict_table
from vlm_rl.reports.tables.gain_tables import aggregate_table, gain_split_table, gain_table
from vlm_rl.reports.tables.table import cells
from vlm_rl.reports.tables.table_3 import COLUMNS, paper_row, table3_table

PAPER_RUN = {"dataset": {"name": "mm_math5k"}, "model": {"name": "Qwen/Qwen2.5-VL-7B-Instruct"}}
IN_TEST = dict(zip(BY_HAND, (3, 3, 3, 5, 4, 9, 3, 9, 6, 5, 8, 2), strict=True))  # epochs 1, 2, 3 of seed 0, then of 1 and 2


def test_vanilla_mean_maximum_pick_and_last_by_hand(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right=BY_HAND)  # val is highest at epochs 2, 3 and 3
    write_by_hand(study, right=IN_TEST, split="test")
    table = accuracy_table(records_of(study), endpoint=ENDPOINT)
    val, test = table.rows
    assert estimates(val, "vanilla", "mean", "max", "last") == pytest.approx([0.4, 0.7, (0.8 + 0.9 + 0.8) / 3, 0.8])
    assert estimates(test, "picked", "max") == pytest.approx([(0.4 + 0.6 + 0.2) / 3, (0.9 + 0.9 + 0.8) / 3])
    keys = ("split", "setting", "selected_epochs", "last_epoch", "seeds")
    assert cells_of(test, *keys) == ("test", "pass@1_t0.6", "2, 3, 3", 3, 3)
    assert math.isnan(estimate(val["lucky_max"]))  # one stored sample of a question
    assert "pass@1, T = 0.6" in [shown.text for _, shown in cells(table, row=val)]
    table.write_csv(tmp_path / "accuracy.csv")
    row = next(csv.DictReader((tmp_path / "accuracy.csv").open()))
    assert (float(row["last"]), row["last_seeds"], row["lucky_max"]) == (pytest.approx(0.8), "3", "")
    assert float(row["last_low"]) < 0.8 < float(row["last_high"])


def test_of_unfinished_runs_the_last_common_epoch_speaks_and_of_equal_epochs_the_first_is_picked(tmp_path: Path) -> None:
    right = {("grpo", 0, 1): 4, ("grpo", 0, 2): 9, ("grpo", 0, 3): 9, ("grpo", 1, 1): 6}
    records = records_of(write_by_hand(tmp_path / "s", right=right, status="running"))
    (row,) = accuracy_table(records, endpoint=ENDPOINT).rows
    assert (*cells_of(row, "last_epoch", "selected_epochs"), estimate(row["last"])) == (1, "2, 1", pytest.approx(0.5))


def test_the_lucky_maximum_lies_above_the_vanilla_accuracy_and_is_the_same_every_time(fake_records: Records) -> None:
    first, again = (accuracy_table(fake_records, endpoint=ENDPOINT).rows for _ in range(2))
    lucky = [estimates(row, "lucky_max", "vanilla") for row in first if row["setting"] == SETTING]
    assert len(lucky) == 4 and all(luck > vanilla for luck, vanilla in lucky)
    assert str(first) == str(again)


def test_table_3_has_an_arm_twice_vanilla_once_and_the_papers_numbers_beside_its_model(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right=BY_HAND)
    write_by_hand(study, right={("sft", 0, 1): 2, ("sft", 0, 2): 4, ("sft", 1, 1): 4, ("sft", 1, 2): 4})
    table = table3_table(records_of(study))
    (row,) = table.rows
    assert [column.title for column in table.columns][4:] == ["Vanilla", "sft, mean", "grpo, mean", "sft, max", "grpo, max"]
    found = estimates(row, "vanilla", "sft_mean", "sft_max", "grpo_mean")  # Vanilla once, though two arms share it
    assert found == pytest.approx([0.4, (0.3 + 0.4) / 2, 0.4, 0.7])
    assert "Ma et al." not in table.note
    study = write_by_hand(tmp_path / "of the paper", right=BY_HAND, config=PAPER_RUN)
    write_by_hand(study, right={("sft", 0, 1): 2}, config=PAPER_RUN | {"model": {"name": "tiny"}})
    table = table3_table(records_of(study))
    theirs, ours = sorted(table.rows, key=lambda row: str(row["model"]))
    assert cells_of(theirs, *(f"paper_{name}" for name in COLUMNS)) == pytest.approx((0.36, 0.308, 0.398, 0.39, 0.472))
    assert "paper_vanilla" not in ours and "arXiv 2504.02587v2, Table 3" in table.note


@pytest.mark.parametrize(("dataset", "model", "split", "setting", "image", "percent"), cases("paper", "table_3"))
def test_numbers_of_the_papers_table_3(
    dataset: str, model: str, split: str, setting: str, image: str, percent: list[float]
) -> None:
    shown = {"evaluation": {"image": {"_target_": f"vlm_rl.evaluation.image_control.{image}"}}}
    run = run_of(seed=0).run
    run = replace(run, config={"dataset": {"name": dataset}, "model": {"name": model}} | shown)
    row = paper_row(run, split=split, setting=setting)
    assert list(row) == [*COLUMNS][: len(percent)]
    assert [100 * share for share in row.values()] == pytest.approx(percent, rel=1e-7, nan_ok=True)


def test_pass_at_1_to_n_is_given_once_for_the_vanilla_model_and_for_each_arm_at_its_pick(
    tmp_path: Path, fake_records: Records
) -> None:
    table = pass_at_table(fake_records, endpoint=ENDPOINT)
    eight = [row for row in table.rows if (row["split"], row["setting"]) == ("val", "pass@8, T = 1.0")]
    assert [cells_of(row, "arm", "seeds") for row in eight] == [("Vanilla", 3), ("reinforce_pp", 3), ("sft", 3)]
    vanilla = [run.evaluations[0, "val", "pass@8_t1.0"] for run in fake_records.arms[0].runs]
    first = [(evaluation.num_correct / evaluation.num_samples).mean() for evaluation in vanilla]
    expected = [np.mean(first), np.mean([evaluation.accuracy() for evaluation in vanilla])]
    assert estimates(eight[0], "pass@1", "pass@8") == pytest.approx(expected)
    curve = estimates(eight[1], *(f"pass@{k}" for k in range(1, 9)))
    assert curve == sorted(curve)
    assert "pass@1, T = 0.01" not in {row["setting"] for row in table.rows}  # one stored sample
    study = write_by_hand(tmp_path / "many samples: k doubles", right={("grpo", 0, 1): 4})
    path = next(study.rglob("*.parquet"))
    rows = pq.read_table(path).to_pylist()
    write_rows(path, rows=[row | {"sample": sample} for row in rows for sample in range(12)])
    (row,) = pass_at_table(records_of(study), endpoint=ENDPOINT).rows
    assert list(row)[4:] == ["pass@1", "pass@2", "pass@4", "pass@8", "pass@12"]


def test_kinds_and_modalities_are_counted_apart(tmp_path: Path) -> None:
    rows = breakdown_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND)), endpoint=ENDPOINT).rows
    assert [row["value"] for row in rows] == ["text", "vision", "angles", "rectangles", "segments", "triangles"]
    vision = rows[1]  # questions 4 to 7 of ten; Vanilla is right in the first 4, 5 and 3, the arm in 8, 9 and 8
    assert cells_of(vision, "by", "questions", "seeds") == ("modality", 4, 3)
    assert estimates(vision, "vanilla", "picked", "gain") == pytest.approx([1 / 12, 1.0, 11 / 12])


def test_accuracy_is_broken_down_by_any_further_field_of_a_row_with_few_values(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 7})
    for path in study.rglob("*.parquet"):
        for_each = [row for row in pq.read_table(path).to_pylist() for _ in range(5)]  # fifty rows
        fields = [json.dumps({"grade": ("7", "8")[place >= 30], "page": str(place % 41)}) for place in range(50)]
        rows = [row | {"row_id": str(place), "fields": fields[place - 100]} for place, row in enumerate(for_each, 100)]
        write_rows(path, rows=rows)
    by_grade = breakdown_table(records_of(study), endpoint=ENDPOINT, fields=("grade", "page")).rows  # 41 pages: too many
    found = [(*cells_of(row, "by", "value", "questions"), estimate(row["gain"])) for row in by_grade]
    assert found == [("grade", "7", 30, pytest.approx(6 / 6 - 4 / 6)), ("grade", "8", 20, pytest.approx(1 / 4))]


def test_verdicts_are_counted_over_seeds(tmp_path: Path) -> None:
    before, after = verdict_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND)), endpoint=ENDPOINT).rows
    keys = ("epoch", "samples", "correct", "wrong", "unparsable", "timed_out", "not_boxed", "truncated")
    assert cells_of(before, *keys) == (0, 30, 12, 15, 3, 0, 3, 3)  # question 5 is not boxed when wrong, 7 is cut off
    assert cells_of(after, *keys)[:3] == (3, 30, 24)


def test_the_gain_is_paired_by_seed_and_a_single_seed_has_an_interval_over_questions_only(tmp_path: Path) -> None:
    table = gain_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND)), endpoint=ENDPOINT)
    (row,) = table.rows
    assert cells_of(row, "split", "setting", "seeds", "epochs", "this_run_only") == ("val", SETTING, 3, "2, 3, 3", None)
    mean, half = 1.3 / 3, 4.302652729911275 * math.sqrt(0.01 / 3) / math.sqrt(3)  # of 0.4, 0.4, 0.5 at the picked epochs
    assert ends(row["gain"]) == pytest.approx((mean, mean - half, mean + half))
    assert ends(row["new_questions"])[2] >= mean + half
    assert "On val itself this is the highest of several epochs" in table.note
    assert "this_run_only" not in {column.key for column in table.columns}
    one_seed = {(VANILLA, 0, 0): 4, ("grpo", 0, 1): 7}
    table = gain_table(records_of(write_by_hand(tmp_path / "t", right=one_seed)), endpoint=ENDPOINT)
    (row,) = table.rows
    assert (ends(row["this_run_only"])[0], row["new_questions"]) == (pytest.approx(0.3), None)
    assert "this_run_only" in {column.key for column in table.columns}


def test_seeds_with_different_questions_still_have_the_interval_over_seeds(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right=BY_HAND)
    for variant, epoch, count in ((VANILLA, 0, 4), ("grpo", 2, 8)):
        path = study / variant / "seed-0" / "evaluations" / f"epoch-{epoch:04d}" / f"val_{SETTING}.parquet"
        where = {"sample": 0, "split": "val", "setting": SETTING, "epoch": epoch}
        write_rows(path, rows=[sample_row(q, correct=q < count, row_id=f"other-{q}", **where) for q in range(10)])
    (row,) = gain_table(records_of(study), endpoint=ENDPOINT).rows
    assert (estimate(row["gain"]), row["new_questions"]) == (pytest.approx(1.3 / 3), None)


def test_a_gain_that_is_all_boxing_counts_as_format_in_every_seed(tmp_path: Path) -> None:
    study = tmp_path / "s"
    write_by_hand(study, right={(VANILLA, 0, 0): 4, (VANILLA, 1, 0): 4, ("grpo", 0, 1): 6, ("grpo", 1, 1): 10})
    for path in study.rglob("*.parquet"):  # all that is boxed is right, and everything ended by itself
        rows = pq.read_table(path).to_pylist()
        write_rows(path, rows=[row | {"boxed": row["accuracy"] > 0, "finish_reason": "stop"} for row in rows])
    (row,) = gain_split_table(records_of(study), endpoint=ENDPOINT).rows
    half = 12.706204736174694 * 0.2  # of 0.2 and 0.6: t of one degree of freedom x sd / sqrt(2)
    assert ends(row["format"]) == pytest.approx((0.4, 0.4 - half, 0.4 + half))
    assert estimates(row, "reasoning", "outside", "gain") == pytest.approx([0, 0, 0.4])
    assert cells_of(row, "well_formed_vanilla", "well_formed_picked", "responses") == (0.4, 0.8, 20)


def test_aggregates_need_two_seeds_and_twelve_cells(tmp_path: Path) -> None:
    """Four kinds of problems: three seeds are twelve cells."""
    for seeds, left_out in ((3, None), (2, "fewer than 12 cells"), (1, "a single seed")):
        right = {place: count for seed in range(seeds) for place, count in ((("grpo", seed, 1), 8), ((VANILLA, seed, 0), 4))}
        for split in ("val", "test"):
            study = write_by_hand(tmp_path / str(seeds), right=right, split=split)
        (row,) = aggregate_table(records_of(study), endpoint=ENDPOINT).rows
        assert cells_of(row, "seeds", "cells", "left_out") == (seeds, 4 * seeds, left_out)
        assert ("iqm" in row) is (left_out is None)
        if left_out is None:
            assert estimate(row["iqm"]) > estimate(row["iqm_vanilla"])
            assert estimate(row["improvement"]) > 0.5


def test_an_arm_without_a_vanilla_model_has_no_gain(tmp_path: Path) -> None:
    records = records_of(write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 4, ("grpo", 1, 1): 6}, vanilla=None))
    assert gain_table(records, endpoint=ENDPOINT).rows == gain_split_table(records, endpoint=ENDPOINT).rows == ()
    assert estimate(accuracy_table(records, endpoint=ENDPOINT).rows[0]["last"]) == pytest.approx(0.5)
