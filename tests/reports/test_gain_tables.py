"""Gains by hand: paired by seed, split into format and reasoning. rliable's aggregates: test_bootstrap.py and here, who has a row."""

import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fake_runs import sample_row, write_rows, write_study
from hand_runs import BY_HAND, ENDPOINT, SETTING, VANILLA, cells_of, ends, estimate, estimates, records_of, write_by_hand

from vlm_rl.reports.reading.results import Results
from vlm_rl.reports.tables.gain_tables import aggregate_table, gain_over_seeds, gain_split_table, gain_table


def test_the_gain_is_paired_by_seed_and_its_interval_is_by_hand(tmp_path: Path) -> None:
    table = gain_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND)), endpoint=ENDPOINT)
    (row,) = table.rows
    assert cells_of(row, "split", "setting", "seeds", "epoch", "this_run_only") == ("val", SETTING, 3, 3, None)
    half = 4.302652729911275 * 0.1 / math.sqrt(3)  # of 0.3, 0.4, 0.5
    assert ends(row["gain"]) == pytest.approx((0.4, 0.4 - half, 0.4 + half))
    assert ends(row["new_questions"])[2] >= 0.4 + half
    assert "this_run_only" not in {column.key for column in table.columns}


def test_a_single_seed_has_an_interval_over_questions_only(tmp_path: Path) -> None:
    right = {(VANILLA, 0, 0): 4, ("grpo", 0, 1): 7}
    table = gain_table(records_of(write_by_hand(tmp_path / "s", right=right)), endpoint=ENDPOINT)
    (row,) = table.rows
    assert (ends(row["this_run_only"])[0], row["new_questions"]) == (pytest.approx(0.3), None)
    assert "this_run_only" in {column.key for column in table.columns}


def test_seeds_with_different_questions_still_have_the_interval_over_seeds(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right=BY_HAND)
    for variant, epoch, count in ((VANILLA, 0, 4), ("grpo", 3, 7)):
        path = study / variant / "seed-0" / "evaluations" / f"epoch-{epoch:04d}" / f"val_{SETTING}.parquet"
        where = {"sample": 0, "split": "val", "setting": SETTING, "epoch": epoch}
        write_rows(path, rows=[sample_row(q, correct=q < count, row_id=f"other-{q}", **where) for q in range(10)])
    (row,) = gain_table(records_of(study), endpoint=ENDPOINT).rows
    assert (estimate(row["gain"]), row["new_questions"]) == (pytest.approx(0.4), None)


def test_the_parts_of_the_gain_add_up_and_are_averages_over_seeds(tmp_path: Path) -> None:
    records = records_of(write_study(tmp_path / "s", epochs=2))
    rows = gain_split_table(records, endpoint=ENDPOINT).rows
    assert [cells_of(row, "arm", "split") for row in rows] == [(a, s) for a in ("reinforce_pp", "sft") for s in ("val", "test")]
    for row in rows:
        assert sum(estimates(row, "format", "reasoning", "outside")) == pytest.approx(estimate(row["gain"]))
    results = Results(arm=records.arms[0], split="test", setting=SETTING, endpoint=ENDPOINT)
    assert rows[1]["gain"] == pytest.approx(gain_over_seeds(results.gained(results.picked)))


def test_a_gain_that_is_all_boxing_counts_as_format_in_every_seed(tmp_path: Path) -> None:
    study = tmp_path / "s"
    write_by_hand(study, right={(VANILLA, 0, 0): 4, (VANILLA, 1, 0): 4, ("grpo", 0, 1): 6, ("grpo", 1, 1): 10})
    for path in study.rglob("*.parquet"):  # all that is boxed is right, and everything ended by itself
        rows = pq.read_table(path).to_pylist()
        write_rows(path, rows=[row | {"boxed": row["accuracy"] > 0, "finish_reason": "stop"} for row in rows])
    (row,) = gain_split_table(records_of(study), endpoint=ENDPOINT).rows
    half = 12.706204736174694 * 0.2  # of 0.2 and 0.6: t of one degree of freedom x sd / sqrt(2)
    assert ends(row["format"]) == pytest.approx((0.4, 0.4 - half, 0.4 + half))
    assert estimate(row["reasoning"]) == pytest.approx(0)
    assert cells_of(row, "well_formed_vanilla", "well_formed_picked", "responses") == (0.4, 0.8, 20)


def test_aggregates_need_two_seeds_and_twelve_cells(tmp_path: Path) -> None:
    """Four kinds of problems: three seeds are twelve cells."""
    for seeds, left_out in ((3, None), (2, "fewer than 12 cells"), (1, "a single seed")):
        right = {("grpo", seed, 1): 8 for seed in range(seeds)} | {(VANILLA, seed, 0): 4 for seed in range(seeds)}
        study = write_by_hand(tmp_path / str(seeds), right=right)
        write_by_hand(study, right=right, split="test")
        (row,) = aggregate_table(records_of(study), endpoint=ENDPOINT).rows
        assert cells_of(row, "seeds", "cells", "left_out") == (seeds, 4 * seeds, left_out)
        assert ("iqm" in row) is (left_out is None)
    (row,) = aggregate_table(records_of(tmp_path / "3"), endpoint=ENDPOINT).rows
    assert estimate(row["iqm"]) > estimate(row["iqm_vanilla"])
    assert estimate(row["improvement"]) > 0.5
