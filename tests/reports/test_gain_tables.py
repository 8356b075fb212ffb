import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fake_runs import sample_row, write_rows, write_study
from hand_runs import BY_HAND, ENDPOINT, SETTING, VANILLA, estimate, records_of, write_by_hand

from vlm_rl.evaluation.statistics import Interval, mean_interval
from vlm_rl.reports.tables.accuracy_tables import accuracy_table, breakdown_table, verdict_table
from vlm_rl.reports.tables.gain_tables import gain_at_pick, gain_split_table, gain_table
from vlm_rl.reports.tables.table import Cell, Row, cells


def test_the_gain_is_paired_by_seed_and_its_interval_is_by_hand(tmp_path: Path) -> None:
    (row,) = gain_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND))).rows
    gain = row["gain"]
    assert isinstance(gain, Interval)
    assert gain.estimate == pytest.approx(0.4)  # 0.3, 0.4, 0.5
    assert gain.high - gain.estimate == pytest.approx(4.302652729911275 * 0.1 / math.sqrt(3))
    new_questions = row["new_questions"]
    assert isinstance(new_questions, Interval)
    assert new_questions.high >= gain.high


def test_a_setting_has_its_name_in_files_and_its_title_on_the_page(tmp_path: Path) -> None:
    records = records_of(write_by_hand(tmp_path / "s", right=BY_HAND))
    for table in (gain_table(records), accuracy_table(records, endpoint=ENDPOINT)):
        (row,) = table.rows
        assert row["setting"] == SETTING == "pass@1_t0.6"
        assert [shown.text for column, shown in cells(table, row=row) if column.key == "setting"] == ["pass@1, T = 0.6"]


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


def test_the_parts_of_the_gain_add_up_and_are_averages_over_seeds(tmp_path: Path) -> None:
    records = records_of(write_study(tmp_path / "s", epochs=2))
    rows = gain_split_table(records, endpoint=ENDPOINT).rows
    assert [(row["arm"], row["split"]) for row in rows] == [
        ("reinforce_pp", "val"), ("reinforce_pp", "test"), ("sft", "val"), ("sft", "test")
    ]  # fmt: skip
    for row in rows:
        assert sum(estimate(row[name]) for name in ("format", "reasoning", "outside")) == pytest.approx(estimate(row["gain"]))
    gain = gain_at_pick(records.arms[0], endpoint=ENDPOINT, split="test", setting=SETTING)
    assert gain is not None
    by_seed = [after.accuracy() - before.accuracy() for before, after in zip(gain.before, gain.after, strict=True)]
    assert rows[1]["gain"] == pytest.approx(mean_interval(by_seed))


def test_a_gain_that_is_all_boxing_counts_as_format_in_every_seed(tmp_path: Path) -> None:
    study = tmp_path / "s"
    write_by_hand(study, right={(VANILLA, 0, 0): 4, (VANILLA, 1, 0): 4, ("grpo", 0, 1): 6, ("grpo", 1, 1): 10})
    for path in study.rglob("*.parquet"):  # all that is boxed is right, and everything ended by itself
        rows = pq.read_table(path).to_pylist()
        write_rows(path, rows=[row | {"boxed": row["accuracy"] > 0, "finish_reason": "stop"} for row in rows])
    (row,) = gain_split_table(records_of(study), endpoint=ENDPOINT).rows
    interval = row["format"]
    assert isinstance(interval, Interval)
    assert interval.estimate == pytest.approx(0.4)  # 0.2 and 0.6
    assert interval.high - interval.estimate == pytest.approx(
        12.706204736174694 * 0.2
    )  # t of one degree of freedom x sd / sqrt(2)
    assert estimate(row["reasoning"]) == pytest.approx(0)


def test_kinds_and_modalities_are_counted_apart(tmp_path: Path) -> None:
    rows = breakdown_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND)), endpoint=ENDPOINT).rows
    by_value: dict[Cell, Row] = {row["value"]: row for row in rows}
    assert list(by_value) == ["text", "vision", "angles", "rectangles", "segments", "triangles"]
    assert by_value["vision"]["questions"] == 4  # questions 4 to 7 of ten
    assert estimate(by_value["vision"]["picked"]) == pytest.approx((4 / 4 + 4 / 4 + 4 / 4) / 3)  # 8, 9, 8 right: 4-7 each


def test_accuracy_is_broken_down_by_any_further_field_of_a_row(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 7})
    for path in study.rglob("*.parquet"):
        rows = pq.read_table(path).to_pylist()
        fields = [json.dumps({"grade": ("7", "8")[place >= 6]}) for place in range(len(rows))]
        write_rows(path, rows=[row | {"fields": text} for row, text in zip(rows, fields, strict=True)])
    rows_by_grade = breakdown_table(records_of(study), endpoint=ENDPOINT, fields=("grade",)).rows
    assert [(row["by"], row["value"], row["questions"]) for row in rows_by_grade] == [("grade", "7", 6), ("grade", "8", 4)]
    assert [estimate(row["gain"]) for row in rows_by_grade] == pytest.approx([6 / 6 - 4 / 6, 1 / 4])


def test_verdicts_are_counted_over_seeds(tmp_path: Path) -> None:
    before, after = verdict_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND)), setting=SETTING).rows
    assert (before["samples"], before["correct"], before["epoch"]) == (30, 12, 0)
    assert (after["samples"], after["correct"], after["epoch"]) == (30, 24, 3)
