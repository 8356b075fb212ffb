import csv
import math
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_study
from hand_runs import BY_HAND, ENDPOINT, SETTING, VANILLA, estimate, records_of, write_by_hand

from vlm_rl.reports.tables.accuracy_tables import accuracy_table, pass_at_table
from vlm_rl.reports.tables.table_3 import paper_row, table3_table

PAPER_RUN = {"dataset": {"name": "mm_math5k"}, "model": {"name": "Qwen/Qwen2.5-VL-7B-Instruct"}}
IN_TEST = {(VANILLA, 0, 0): 3, (VANILLA, 1, 0): 3, (VANILLA, 2, 0): 3} | {
    ("grpo", seed, epoch): count
    for seed, counts in {0: (5, 4, 9), 1: (3, 9, 6), 2: (5, 8, 2)}.items()
    for epoch, count in enumerate(counts, start=1)
}


def test_vanilla_mean_maximum_and_last_by_hand(tmp_path: Path) -> None:
    (row,) = accuracy_table(records_of(write_by_hand(tmp_path / "s", right=BY_HAND)), endpoint=ENDPOINT).rows
    assert estimate(row["vanilla"]) == pytest.approx(0.4)
    assert estimate(row["mean"]) == pytest.approx(0.7)  # each seed's mean over epochs is 0.7
    assert estimate(row["max"]) == pytest.approx((0.8 + 0.9 + 0.8) / 3)
    assert estimate(row["last"]) == pytest.approx(0.8)
    assert (row["last_epoch"], row["seeds"]) == (3, 3)
    assert math.isnan(estimate(row["lucky_max"]))  # one stored sample of a question


def test_where_no_run_is_finished_the_last_common_epoch_speaks(tmp_path: Path) -> None:
    right = {("grpo", 0, 1): 4, ("grpo", 0, 2): 9, ("grpo", 1, 1): 6}
    records = records_of(write_by_hand(tmp_path / "s", right=right, status="running"))
    (row,) = accuracy_table(records, endpoint=ENDPOINT).rows
    assert row["last_epoch"] == 1
    assert estimate(row["last"]) == pytest.approx(0.5)


def test_the_lucky_maximum_lies_above_the_untrained_accuracy(tmp_path: Path) -> None:
    records = records_of(write_study(tmp_path / "s", epochs=3))
    rows = [row for row in accuracy_table(records, endpoint=ENDPOINT).rows if row["setting"] == SETTING]
    assert rows
    assert all(estimate(row["lucky_max"]) > estimate(row["vanilla"]) for row in rows)
    again = accuracy_table(records, endpoint=ENDPOINT).rows
    assert [estimate(row["lucky_max"]) for row in again if row["setting"] == SETTING] == [
        estimate(row["lucky_max"]) for row in rows
    ]


def test_the_test_accuracy_at_the_epoch_that_validation_picks_stands_beside_the_test_maximum(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right=BY_HAND)  # val is highest at epochs 2, 3 and 3
    write_by_hand(study, right=IN_TEST, split="test")
    row = next(row for row in accuracy_table(records_of(study), endpoint=ENDPOINT).rows if row["split"] == "test")
    assert row["picked_epochs"] == "2, 3, 3"
    assert estimate(row["picked"]) == pytest.approx((0.4 + 0.6 + 0.2) / 3)
    assert estimate(row["max"]) == pytest.approx((0.9 + 0.9 + 0.8) / 3)


def test_of_equally_good_epochs_the_first_is_picked(tmp_path: Path) -> None:
    right = {("grpo", 0, epoch): count for epoch, count in enumerate((6, 8, 8), start=1)}
    (row,) = accuracy_table(records_of(write_by_hand(tmp_path / "s", right=right)), endpoint=ENDPOINT).rows
    assert row["picked_epochs"] == "2"


def test_table_3_has_an_arm_in_two_columns_and_the_untrained_model_in_one(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right=BY_HAND)
    write_by_hand(study, right={("sft", 0, 1): 2, ("sft", 0, 2): 4, ("sft", 1, 1): 4, ("sft", 1, 2): 4})
    table = table3_table(records_of(study))
    (row,) = table.rows
    assert [column.title for column in table.columns][4:] == ["Vanilla", "sft, mean", "grpo, mean", "sft, max", "grpo, max"]
    assert estimate(row["vanilla"]) == pytest.approx(0.4)  # three seeds, though two arms share them
    assert estimate(row["sft_mean"]) == pytest.approx((0.3 + 0.4) / 2)
    assert estimate(row["sft_max"]) == pytest.approx(0.4)
    assert estimate(row["grpo_mean"]) == pytest.approx(0.7)
    assert "Ma et al." not in table.note


def test_the_papers_numbers_stand_beside_ours_where_data_and_model_are_the_papers(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right=BY_HAND, config=PAPER_RUN)
    write_by_hand(study, right={("sft", 0, 1): 2}, config=PAPER_RUN | {"model": {"name": "tiny"}})
    table = table3_table(records_of(study))
    theirs, ours = sorted(table.rows, key=lambda row: str(row["model"]))
    names = ("vanilla", "sft_mean", "rl_mean", "sft_max", "rl_max")
    assert [theirs[f"paper_{name}"] for name in names] == pytest.approx([0.36, 0.308, 0.398, 0.39, 0.472])
    assert "paper_vanilla" not in ours
    assert "arXiv 2504.02587v2, Table 3" in table.note


@pytest.mark.parametrize(
    ("dataset", "model", "split", "setting", "expected"),
    [
        ("mm_math5k", "Qwen/Qwen2-VL-7B-Instruct", "val", "pass@8_t1.0", (36.0, 46.8, 48.5, 53.0, 55.7)),
        ("mm_math5k", "Qwen/Qwen2-VL-7B-Instruct", "test", "pass@1_t0.6", (11.0, 8.7, 14.1, 12.0, 19.7)),
        ("mm_math5k", "/models/Qwen2.5-VL-7B-Instruct/", "test", "pass@1_t0.01", (28.0, 15.0, 31.8, 20.0, 38.3)),
        ("geometry3k", "Qwen/Qwen2-VL-7B-Instruct", "test", "pass@8_t1.0", (46.6, math.nan, 58.0, math.nan, 62.1)),
        ("geometry3k", "Qwen/Qwen2.5-VL-7B-Instruct", "val", "pass@1_t0.01", (35.3, math.nan, 34.6, math.nan, 37.7)),
    ],
)
def test_numbers_of_the_papers_table_3(dataset: str, model: str, split: str, setting: str, expected: tuple[float, ...]) -> None:
    row = paper_row({"dataset": {"name": dataset}, "model": {"name": model}}, split=split, setting=setting)
    assert row is not None
    found = (row.vanilla, row.sft_mean, row.rl_mean, row.sft_max, row.rl_max)
    np.testing.assert_allclose(found, np.array(expected) / 100)


def test_the_paper_has_no_number_for_other_models_data_settings_or_blank_figures() -> None:
    blank = {"evaluation": {"image": {"_target_": "vlm_rl.evaluation.image_control.Blank"}}}
    assert paper_row(PAPER_RUN, split="val", setting=SETTING) is not None
    assert paper_row(PAPER_RUN | blank, split="val", setting=SETTING) is None
    assert paper_row(PAPER_RUN, split="train", setting=SETTING) is None
    assert paper_row(PAPER_RUN, split="val", setting="pass@4_t1.0") is None
    assert paper_row(PAPER_RUN | {"model": {"name": "Qwen/Qwen2.5-VL-3B-Instruct"}}, split="val", setting=SETTING) is None
    assert paper_row({}, split="val", setting=SETTING) is None


def test_pass_at_1_to_n_is_given_once_for_the_untrained_model_and_for_each_arm_at_its_pick(tmp_path: Path) -> None:
    records = records_of(write_study(tmp_path / "s", epochs=2))
    table = pass_at_table(records, endpoint=ENDPOINT)
    eight = [row for row in table.rows if (row["split"], row["setting"]) == ("val", "pass@8, T = 1.0")]
    assert [(row["arm"], row["seeds"]) for row in eight] == [("Vanilla", 3), ("reinforce_pp", 3), ("sft", 3)]
    untrained = [run.evaluations[0, "val", "pass@8_t1.0"] for run in records.arms[0].runs]
    assert estimate(eight[0]["pass@8"]) == pytest.approx(np.mean([evaluation.accuracy() for evaluation in untrained]))
    first = [(evaluation.num_correct / evaluation.num_samples).mean() for evaluation in untrained]
    assert estimate(eight[0]["pass@1"]) == pytest.approx(np.mean(first))
    assert [estimate(eight[1][f"pass@{k}"]) for k in range(1, 9)] == sorted(
        estimate(eight[1][f"pass@{k}"]) for k in range(1, 9)
    )
    assert not [row for row in table.rows if row["setting"] == "pass@1, T = 0.01"]  # one stored sample


def test_a_table_becomes_csv_with_the_ends_of_its_intervals(tmp_path: Path) -> None:
    records = records_of(write_by_hand(tmp_path / "s", right=BY_HAND))
    accuracy_table(records, endpoint=ENDPOINT).write_csv(tmp_path / "accuracy.csv")
    (row,) = csv.DictReader((tmp_path / "accuracy.csv").open())
    assert float(row["last"]) == pytest.approx(0.8)
    assert row["last_seeds"] == "3"
    assert float(row["last_low"]) < 0.8 < float(row["last_high"])
    assert row["lucky_max"] == ""
