"""The table of settings that differ, by hand."""

from typing import Any

from judged_studies import changed, gained, records, shown

from vlm_rl.reports.reading.arms import Arm
from vlm_rl.reports.tables.config_tables import MOST_ARMS, MOST_KEYS, config_table


def configured(label: str, **config: Any) -> Arm:
    return changed(gained(label, 0.1, 0.2), lambda run: {"config": config})


def test_two_arms_show_exactly_what_differs_with_a_dash_where_one_has_no_such_key() -> None:
    grpo = {"name": "grpo", "clip": 0.2, "loss": {"scale": [1, 2]}, "kl": None}
    dapo = {"name": "dapo", "clip": 0.2, "loss": {"scale": [1, 3]}, "kl": True, "high": "wide"}
    table = config_table(records(configured("grpo", algorithm=grpo), configured("dapo", algorithm=dapo)))
    assert [column.key for column in table.columns] == ["config_key", "grpo", "dapo"]
    assert [tuple(row.values()) for row in shown(table)] == [
        ("algorithm.high", "–", "wide"),
        ("algorithm.kl", "null", "true"),
        ("algorithm.loss.scale", "[1, 2]", "[1, 3]"),
        ("algorithm.name", "grpo", "dapo"),
    ]


def test_seeds_paths_and_where_a_run_is_kept_are_no_difference() -> None:
    kept = ({"seed": place, "study": f"s{place}", "logger": {"name": place}, "reward": {"seed": place}} for place in range(2))
    paths = ({"model": {"path": f"/m{place}"}, "checkpoint": {"every": place}} for place in range(2))
    arms = [configured(f"a{place}", **(one | other)) for place, (one, other) in enumerate(zip(kept, paths, strict=True))]
    assert config_table(records(*arms)).rows == ()


def test_one_arm_has_nothing_to_differ_from() -> None:
    assert config_table(records(configured("grpo", algorithm={"name": "grpo"}))).rows == ()


def test_of_many_arms_and_keys_some_are_shown_and_the_rest_is_counted() -> None:
    arms = [configured(f"a{place:02d}", **{f"key-{number:03d}": place for number in range(70)}) for place in range(10)]
    table = config_table(records(*arms))
    assert (len(table.rows), len(table.columns)) == (MOST_KEYS, MOST_ARMS + 1)
    assert "Not shown here: 10 more settings; 2 more arms" in table.note
    assert table.rows[0]["a09"] == "9"  # the file has it
