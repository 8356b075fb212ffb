import json
import math
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_study
from hand_runs import ENDPOINT, VANILLA, estimate, records_of, write_by_hand

from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.tables.cost_tables import cost_table, differences, fairness_table, learning_rate, selections
from vlm_rl.reports.tables.table import Row, cells

CONFIG = {
    "trainer": {"devices": 2, "num_nodes": 3},
    "dataset": {"batch_size": 16},
    "model": {"name": "tiny", "optimization": {"learning_rate": 1e-3}},
    "algorithm": {"learning_rate_scale": 2.0},
}


def write_priced(study: Path, *, seconds: dict[int, float], **config: Any) -> Path:
    """Gains of 20 and 40 points in two seeds; one step of that many seconds and 500,000 tokens each."""
    for split in ("val", "test"):
        right = {(VANILLA, 0, 0): 2, (VANILLA, 1, 0): 2, ("grpo", 0, 1): 4, ("grpo", 1, 1): 6}
        write_by_hand(study, right=right, split=split, config=CONFIG | config)
    for seed, time in seconds.items():
        lines = [
            {"event": "evaluation", "generation_steps": 0, "time/evaluation": 1000.0},
            {"event": "train", "generation_steps": 1, "time/step4_policy_update": 0.75 * time, "tokens/response": 500_000},
            {"event": "evaluation", "generation_steps": 1, "time/evaluation": 0.25 * time},
        ]
        (study / "grpo" / f"seed-{seed}" / "cost.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        train = {"event": "train", "generation_steps": 10, "gradient_steps": 40, "epoch": 2.0}
        (study / "grpo" / f"seed-{seed}" / "metrics.jsonl").write_text(json.dumps(train) + "\n")
    return study


def test_cost_is_summed_over_a_run_and_averaged_over_seeds(tmp_path: Path) -> None:
    row = cost_table(records_of(write_study(tmp_path / "s", epochs=2)), endpoint=ENDPOINT).rows[0]
    assert estimate(row["tokens"]) == 10_000  # ten steps of 1000 tokens
    assert estimate(row["step4_policy_update_seconds"]) == 30.0
    assert estimate(row["seconds"]) == 70.0  # evaluation was not measured
    assert estimate(row["peak_bytes"]) == 2**30 + 10


def test_device_hours_money_and_points_for_each_by_hand(tmp_path: Path) -> None:
    records = records_of(write_priced(tmp_path / "s", seconds={0: 600.0, 1: 1200.0}))
    table = cost_table(records, endpoint=ENDPOINT, price_per_device_hour=2.5, currency="EUR")
    (row,) = table.rows
    assert estimate(row["seconds"]) == 900.0  # the untrained model's 1000 s are left out
    assert estimate(row["evaluation_seconds"]) == 225.0
    assert estimate(row["device_hours"]) == pytest.approx((1 + 2) / 2)  # six devices: 1 h and 2 h
    assert estimate(row["money"]) == pytest.approx((2.5 + 5.0) / 2)
    assert estimate(row["points_per_device_hour"]) == pytest.approx((20 / 1 + 40 / 2) / 2)
    assert estimate(row["points_per_million_tokens"]) == pytest.approx((20 / 0.5 + 40 / 0.5) / 2)
    assert estimate(row["points_per_money"]) == pytest.approx((20 / 2.5 + 40 / 5) / 2)
    shown = {column.title: cell.text for column, cell in cells(table, row=row)}
    assert (shown["Cost (EUR)"], shown["Points for 1 EUR"]) == ("3.75", "+8")


def test_tokens_that_dynamic_sampling_threw_away_are_shown_where_there_are_any_and_were_not_trained_on(tmp_path: Path) -> None:
    study = write_priced(tmp_path / "s", seconds={0: 600.0, 1: 1200.0})
    assert "Of these thrown away" not in {column.title for column in cost_table(records_of(study), endpoint=ENDPOINT).columns}
    for seed, thrown_away in ((0, 100_000), (1, 300_000)):
        line = {"event": "train", "generation_steps": 2, "tokens/response": 500_000, "tokens/thrown_away": thrown_away}
        with (study / "grpo" / f"seed-{seed}" / "cost.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
    records = records_of(study)
    table = cost_table(records, endpoint=ENDPOINT)
    shown = {column.title: cell.text for column, cell in cells(table, row=table.rows[0])}
    assert (shown["Response tokens"], shown["Of these thrown away"]) == ("1,000,000", "200,000")
    assert "Thrown away: responses in groups that dynamic sampling did not learn from" in table.note
    assert estimate(fairness_table(records).rows[0]["tokens"]) == 800_000


def test_the_note_says_what_an_interrupted_run_and_a_server_of_its_own_paid_that_is_not_counted(tmp_path: Path) -> None:
    table = cost_table(records_of(write_priced(tmp_path / "s", seconds={0: 600.0})), endpoint=ENDPOINT)
    assert "what an interrupted run paid before it was resumed" in table.note
    assert "The devices of a sampling server of its own are not counted." in table.note


def test_without_a_price_there_is_no_money_and_without_an_untrained_model_there_are_no_points(tmp_path: Path) -> None:
    study = write_priced(tmp_path / "s", seconds={0: 600.0, 1: 600.0})
    table = cost_table(records_of(study / "grpo"), endpoint=ENDPOINT)
    assert not any("Cost" in column.title for column in table.columns)
    for path in study.glob("vanilla-*/seed-*/evaluations/*/*.parquet"):
        path.unlink()
    (row,) = cost_table(records_of(study), endpoint=ENDPOINT).rows
    assert math.isnan(estimate(row["points_per_device_hour"]))
    assert estimate(row["device_hours"]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("devices", "hours"), [("auto", math.nan), (-1, math.nan), ([0, 1, 2], 0.5), ("2", 1 / 3), (None, math.nan)]
)
def test_a_number_of_devices_that_the_config_left_open_is_not_guessed(tmp_path: Path, devices: object, hours: float) -> None:
    trainer = {"devices": devices, "num_nodes": 1}
    records = records_of(write_priced(tmp_path / "s", seconds={0: 600.0, 1: 600.0}, trainer=trainer))
    (row,) = cost_table(records, endpoint=ENDPOINT).rows
    assert estimate(row["device_hours"]) == pytest.approx(hours, nan_ok=True)


def test_the_fairness_table_says_what_each_arm_was_given(tmp_path: Path) -> None:
    study = write_priced(tmp_path / "s", seconds={0: 600.0, 1: 1200.0}, selection="three rates on val with seed 100")
    table = fairness_table(records_of(study))
    (row,) = table.rows
    assert "All arms start from the same model" in table.note
    assert row["rows"] == 80  # 10 steps of 16 rows in 2 epochs
    assert (row["epochs"], row["updates"], row["data"], row["model"]) == (2.0, 40.0, "a", "tiny")
    assert row["learning_rate"] == pytest.approx(2e-3)
    assert row["selection"] == "three rates on val with seed 100"
    assert table.note.count("How the learning rate was chosen: three rates on val with seed 100.") == 1
    assert "times as many" not in table.note and "agree in data, rows" not in table.note  # of one arm
    assert "selection" not in {column.key for column in table.columns}
    assert estimate(row["tokens"]) == 500_000
    assert estimate(row["seconds"]) == 900.0


def test_a_rate_of_the_language_part_is_the_one_that_is_shown() -> None:
    optimization = {"learning_rate": 1e-3, "part_learning_rates": {"vision": 1e-5, "language": None}}
    config: dict[str, object] = {"model": {"optimization": optimization}, "algorithm": {"learning_rate_scale": 2.0}}
    assert learning_rate(config) == pytest.approx(2e-3)
    optimization["part_learning_rates"] = {"language": 5e-4}
    assert learning_rate(config) == pytest.approx(1e-3)


def test_what_no_config_says_is_said_to_be_unknown(tmp_path: Path) -> None:
    row = fairness_table(records_of(write_study(tmp_path / "s", epochs=2, questions=4))).rows[0]
    assert row["selection"] == "not said"
    assert isinstance(row["learning_rate"], float)
    assert math.isnan(row["learning_rate"])


def test_the_note_names_what_the_arms_were_not_given_alike() -> None:
    """Updates 2 to 1; rows 1.05 to 1, which is alike; tokens unknown of one arm."""
    alike = {
        "selection": "on val",
        "data": "8fe0",
        "rows": 100.0,
        "epochs": 6.0,
        "updates": 240.0,
        "tokens": mean_interval([9.0]),
    }
    more = alike | {"arm": "sft", "rows": 105.0, "updates": 480.0, "tokens": mean_interval([])}
    rows: list[Row] = [alike | {"arm": "rl"}, more]
    assert list(differences(rows)) == ["sft made 2 times as many updates as rl."]
    assert list(selections(rows)) == ["How the learning rate was chosen: on val."]
    rows = [alike | {"arm": "rl"}, alike | {"arm": "sft", "data": "77aa", "selection": "by hand", "epochs": 9.0}]
    assert list(differences(rows)) == [
        "The arms were trained on different data.",
        "sft ran 1.5 times as many epochs as rl.",
    ]
    assert list(selections(rows)) == [
        "How the learning rate of rl was chosen: on val.",
        "How the learning rate of sft was chosen: by hand.",
    ]
    (agreed,) = differences([alike | {"arm": "rl"}, alike | {"arm": "sft"}])
    assert agreed.startswith("They agree in data")
