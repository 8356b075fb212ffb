import csv
import math
from pathlib import Path

from judged_studies import FIVE, gained, judged, records

from vlm_rl.reports.tables.table import Table
from vlm_rl.reports.verdicts.decision_tables import decision_table, power_table

STUDY = records(gained("grpo", *FIVE), gained("sft", 0.05, -0.05, 0.1), gained("dapo", 0.1))


def shown(table: Table, *, row: int) -> dict[str, str]:
    return {column.key: column.show(table.rows[row][column.key]).text for column in table.columns}


def test_the_decision_table_holds_a_row_for_each_arm() -> None:
    table = decision_table(judged(STUDY))
    first, second, third = (shown(table, row=row) for row in range(3))
    assert (first["arm"], first["verdict"], first["gain"], first["adjusted_p"]) == ("grpo", "improvement", "+20.0", "< 0.001")
    assert (first["seeds"], first["epochs"]) == ("5", "1, 1, 1, 1, 1")
    assert (second["verdict"], second["seeds"], second["p_value"]) == ("no evidence either way", "3", "0.545")
    assert (third["verdict"], third["p_value"], third["this_run_only"]) == ("not judged", "–", "+10.0")


def test_the_column_for_single_runs_is_there_only_where_there_are_any() -> None:
    keys = {column.key for column in decision_table(judged(records(gained("grpo", *FIVE)))).columns}
    assert "this_run_only" not in keys


def test_the_power_table_begins_with_the_study_as_it_is_and_more_seeds_find_less() -> None:
    table = power_table(judged(records(gained("grpo", *FIVE))))
    assert [row["seeds"] for row in table.rows] == [5, 3, 10, 20]
    assert shown(table, row=0)["found"] == "about 7.4 (5.8 to 17.6)"
    by_seeds = {row["seeds"]: row["found_share"] for row in table.rows}
    assert by_seeds[3] > by_seeds[5] > by_seeds[10] > by_seeds[20]


def test_two_seeds_are_said_to_find_none_and_more_seeds_something() -> None:
    two, three, *_ = (shown(power_table(judged(records(gained("grpo", 0.2, 0.25)))), row=row) for row in range(5))
    assert (two["seeds"], two["found"], two["found_with_more"]) == ("2", *["none: fewer than three seeds"] * 2)
    assert two["questions_needed"] == "out of reach"
    assert three["seeds"] == "3"
    assert three["found"].startswith("about ")


def test_a_late_reference_is_said_in_the_note() -> None:
    study = records(gained("grpo", *FIVE), gained("sft", 0.0, 0.05, -0.05))
    assert "The reference, sft, was chosen after the runs" in decision_table(judged(study, reference="sft")).note
    assert "The reference" not in decision_table(judged(study)).note


def test_how_uncertain_the_measured_spread_is_depends_on_the_seeds() -> None:
    """Square roots of chi-square limits: df 4 (11.143, 0.4844), and df 2 (7.378, 0.05064) of the arm with three seeds."""
    five, with_three = power_table(judged(records(gained("grpo", *FIVE)))), power_table(judged(STUDY))
    assert "from 5 seeds may in truth be 0.6 to 2.9 times as much" in five.note
    assert "from 3 seeds may in truth be 0.5 to 6.3 times as much" in with_three.note
    assert "in truth" not in power_table(()).note


def test_what_was_not_tested_is_not_planned_for() -> None:
    assert {row["arm"] for row in power_table(judged(STUDY)).rows} == {"grpo", "sft"}


def test_tables_of_nothing_are_empty() -> None:
    assert decision_table(()).rows == power_table(()).rows == ()


def test_both_tables_are_written_as_csv(tmp_path: Path) -> None:
    verdicts = judged(STUDY)
    for table in (decision_table(verdicts), power_table(verdicts)):
        table.write_csv(tmp_path / "table.csv")
        with (tmp_path / "table.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(table.rows)
    assert math.isclose(float(rows[0]["found_share"]), 0.088, abs_tol=0.001)
