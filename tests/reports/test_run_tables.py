"""The tables of alerts and runs against lines written by hand. Verdicts judged again: test_rejudge.py."""

import json
from pathlib import Path

from fake_runs import write_study
from hand_runs import BY_HAND, ENDPOINT, cells_of, records_of, write_by_hand

from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.tables.accuracy_tables import accuracy_table
from vlm_rl.reports.tables.run_tables import alert_table, run_table


def test_each_alert_is_told_by_arm_and_seed_and_a_run_without_the_file_may_never_have_been_watched(
    tmp_path: Path, fake_records: Records
) -> None:
    assert "No run raised an alert" in alert_table(fake_records).note
    study = write_study(tmp_path / "study", epochs=2, questions=2)
    (study / "default" / "seed-1" / "alerts.jsonl").unlink()
    note = alert_table(records_of(study)).note
    assert "1 of 6 runs left no alerts.jsonl: whether anybody watched them is not known." in note
    assert "No run raised an alert" not in note
    raised = {0: [(9, "truncation"), (3, "truncation"), (4, "my_own_rule")], 2: [(7, "truncation"), (None, "kl_explosion")]}
    for seed, alerts in raised.items():
        lines = [{"generation_steps": step, "alert": name, "message": f"{name} at {step}"} for step, name in alerts]
        (study / "default" / f"seed-{seed}" / "alerts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    records = records_of(study)
    rows = alert_table(records).rows
    assert [cells_of(row, "arm", "alert", "seeds", "seed", "step", "times", "message") for row in rows] == [
        ("reinforce_pp", "my_own_rule", "1 of 3", 0, 4, 1, "my_own_rule at 4"),
        ("reinforce_pp", "Responses cut off", "2 of 3", 0, 3, 2, "truncation at 3"),
        ("reinforce_pp", "Responses cut off", "2 of 3", 2, 7, 1, "truncation at 7"),
    ]
    keys = ("run", "status", "generation_steps", "epochs", "vanilla", "alerts", "judge", "commit", "hash")
    assert [cells_of(row, *keys) for row in run_table(records).rows[:2]] == [
        (f"study/default/seed-{seed}", "finished", 10, 2, "yes", alerts, "judge-1", "0123456789", "a" * 8)
        for seed, alerts in ((0, 3), (1, None))
    ]


def test_unfinished_runs_are_listed_and_left_out_of_means(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={key: count for key, count in BY_HAND.items() if key[1] < 2})
    write_by_hand(study, right={("grpo", 2, 1): 0}, status="running")
    records = records_of(study)
    (row,) = accuracy_table(records, endpoint=ENDPOINT).rows
    assert cells_of(row, "seeds", "last_epoch") == (2, 3)
    assert {row["run"]: row["status"] for row in run_table(records).rows}["s/grpo/seed-2"] == "unfinished, left out"
