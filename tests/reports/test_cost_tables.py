"""Cost and fairness by hand: two seeds that gain 20 and 40 points."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hand_runs import ENDPOINT, VANILLA, cells_of, estimate, estimates, records_of, write_by_hand
from hand_training import run_of

from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.tables.charged_time import STEPS, device_hours
from vlm_rl.reports.tables.cost_tables import cost_table, differences, fairness_table, learning_rate, pooled, selections
from vlm_rl.reports.tables.table import Row, Table, cells

CONFIG = {
    "trainer": {"devices": 2, "num_nodes": 3},
    "dataset": {"batch_size": 16},
    "model": {"name": "tiny", "optimization": {"learning_rate": 1e-3}},
    "algorithm": {"learning_rate_scale": 2.0},
}
TIMED = {0: 600.0, 1: 1200.0}  # seconds of a seed


def write_priced(study: Path, **config: Any) -> Path:
    """One step of that many seconds and 500,000 tokens for each seed, after the evaluation of the vanilla model."""
    for split in ("val", "test"):
        right = {(VANILLA, 0, 0): 2, (VANILLA, 1, 0): 2, ("grpo", 0, 1): 4, ("grpo", 1, 1): 6}
        write_by_hand(study, right=right, split=split, config=CONFIG | config)
    for seed, time in TIMED.items():
        run = study / "grpo" / f"seed-{seed}"
        cost = [
            {"event": "evaluation", "generation_steps": 0, "time/evaluation": 1000.0, "memory/peak_bytes": 2**30 + seed},
            {"generation_steps": 1, STEPS[3]: 0.5 * time, STEPS[0]: 0.25 * time, "tokens/response": 500_000},
            {"event": "evaluation", "generation_steps": 1, "time/evaluation": 0.25 * time, "memory/peak_bytes": 0},
        ]
        (run / "cost.jsonl").write_text("".join(json.dumps(line) + "\n" for line in cost))
        train = {"event": "train", "generation_steps": 10, "gradient_steps": 40, "epoch": 2.0}
        (run / "metrics.jsonl").write_text(json.dumps(train) + "\n")
    return study


def shown(table: Table) -> dict[str, str]:
    """The first row as a person reads it, by titles."""
    return {column.title: cell.text for column, cell in cells(table, row=table.rows[0])}


def test_what_a_run_took_and_points_for_it_but_no_money_without_a_price_no_points_without_vanilla(tmp_path: Path) -> None:
    records = records_of(write_priced(tmp_path / "s"))
    table = cost_table(records, endpoint=ENDPOINT, price_per_device_hour=2.5, currency="EUR")
    (row,) = table.rows
    assert cells_of(row, "arm", "seeds", "generation_steps") == ("grpo", 2, 1.0)
    steps = ["step1_data_flow_seconds", "step4_policy_update_seconds", "evaluation_seconds", "seconds"]
    assert estimates(row, *steps) == [225.0, 450.0, 225.0, 900.0]  # the vanilla model's 1000 s are left out
    assert estimates(row, "tokens", "peak_bytes") == [500_000, 2**30 + 0.5]
    assert estimates(row, "device_hours", "money") == pytest.approx([(1 + 2) / 2, (2.5 + 5.0) / 2])  # six devices: 1 h and 2 h
    found = cells_of(row, "points_per_device_hour", "points_per_million_tokens", "points_per_money")
    assert found == pytest.approx([60 / 3, 60 / 1, 60 / 7.5])  # points of both seeds over the cost of both
    assert (shown(table)["Cost (EUR)"], shown(table)["Points for 1 EUR"]) == ("3.75", "+8")
    assert "what an interrupted run paid before it was resumed" in table.note
    assert "The devices of a sampling server of its own are not counted." in table.note
    for path in tmp_path.glob("s/vanilla-*/seed-*/evaluations/*/*.parquet"):
        path.unlink()
    table = cost_table(records_of(tmp_path / "s"), endpoint=ENDPOINT)
    assert not any("Cost" in title for title in shown(table))
    assert math.isnan(table.rows[0]["points_per_device_hour"])


def test_points_are_divided_by_the_cost_of_the_runs_that_have_both() -> None:
    assert pooled([20, 40, math.nan, 5], costs=[1, 4, 7, math.nan]) == pytest.approx(60 / 5)
    assert math.isnan(pooled([math.nan], costs=[1])) and math.isnan(pooled([1], costs=[0]))


def test_tokens_that_dynamic_sampling_threw_away_are_shown_and_were_not_trained_on(tmp_path: Path) -> None:
    study = write_priced(tmp_path / "s")
    assert "Of these thrown away" not in shown(cost_table(records_of(study), endpoint=ENDPOINT))
    for seed, thrown_away in ((0, 100_000), (1, 300_000)):
        line = {"event": "train", "generation_steps": 2, "tokens/response": 500_000, "tokens/thrown_away": thrown_away}
        with (study / "grpo" / f"seed-{seed}" / "cost.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
    records = records_of(study)
    table = cost_table(records, endpoint=ENDPOINT)
    assert (shown(table)["Response tokens"], shown(table)["Of these thrown away"]) == ("1,000,000", "200,000")
    assert "Thrown away: responses in groups that dynamic sampling did not learn from" in table.note
    assert estimate(fairness_table(records).rows[0]["tokens"]) == 800_000


@pytest.mark.parametrize(("devices", "hours"), [("auto", None), (-1, None), ([0, 1, 2], 0.5), ("2", 1 / 3), (None, None)])
def test_a_number_of_devices_that_is_left_open_is_not_guessed(devices: object, hours: float | None) -> None:
    run = run_of(seed=0)
    run = replace(run, run=replace(run.run, config={"trainer": {"devices": devices}}))
    found = device_hours(replace(run, cost=({"generation_steps": 1, STEPS[3]: 600.0},)))
    assert found == pytest.approx(math.nan if hours is None else hours, nan_ok=True)


def test_the_fairness_table_says_what_each_arm_was_given(tmp_path: Path) -> None:
    table = fairness_table(records_of(write_priced(tmp_path / "s", selection="three rates on val with seed 100")))
    (row,) = table.rows
    keys = ("rows", "epochs", "updates", "data", "model", "learning_rate", "selection")  # rows: 10 steps of 16 in 2 epochs
    assert cells_of(row, *keys) == (80, 2.0, 40.0, "a", "tiny", 2e-3, "three rates on val with seed 100")
    assert estimates(row, "tokens", "seconds") == [500_000, 900.0]
    assert "All arms start from the same model" in table.note
    assert table.note.count("How the learning rate was chosen: three rates on val with seed 100.") == 1
    assert "times as many" not in table.note and "agree in data, rows" not in table.note  # of one arm
    assert "selection" not in {column.key for column in table.columns}
    (row,) = fairness_table(records_of(write_by_hand(tmp_path / "t", right={("grpo", 0, 1): 4}))).rows
    assert (row["selection"], str(row["learning_rate"])) == ("not said", "nan")  # no config says it


def test_a_rate_of_the_language_part_is_the_one_that_is_shown() -> None:
    for own, expected in ((None, 2e-3), (5e-4, 1e-3)):
        optimization = {"learning_rate": 1e-3, "part_learning_rates": {"vision": 1e-5, "language": own}}
        config = {"model": {"optimization": optimization}, "algorithm": {"learning_rate_scale": 2.0}}
        assert learning_rate(config) == pytest.approx(expected)
        assert learning_rate(config | {"algorithm": {}}) == pytest.approx(expected / 2)
        assert math.isnan(learning_rate({"model": config["model"]}))


def test_the_note_names_what_the_arms_were_not_given_alike() -> None:
    """Updates 2 to 1; rows 1.05 to 1, which is alike; tokens unknown of one arm."""
    same = {"selection": "on val", "data": "8fe0", "rows": 100.0, "epochs": 6.0, "updates": 240.0, "tokens": mean_interval([9])}
    first: Row = same | {"arm": "rl"}
    more: Row = same | {"arm": "sft", "rows": 105.0, "updates": 480.0, "tokens": mean_interval([])}
    other: Row = same | {"arm": "sft", "data": "77aa", "selection": "by hand", "epochs": 9.0}
    said = [*differences([first, more]), *selections([first, more])]
    assert said == ["sft made 2 times as many updates as rl.", "How the learning rate was chosen: on val."]
    unlike = ["The arms were trained on different data.", "sft ran 1.5 times as many epochs as rl."]
    unlike += ["How the learning rate of rl was chosen: on val.", "How the learning rate of sft was chosen: by hand."]
    assert [*differences([first, other]), *selections([first, other])] == unlike
    (agreed,) = differences([first, same | {"arm": "sft"}])
    assert agreed.startswith("They agree in data")
