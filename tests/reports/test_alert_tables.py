"""The table of alerts against lines written by hand."""

import json
from pathlib import Path
from typing import Any

from fake_runs import write_study

from vlm_rl.evaluation.alert_rules import LengthExplosion
from vlm_rl.evaluation.alert_watch import Watch
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.tables.run_tables import alert_table, run_table


def read(study: Path) -> Records:
    """What a report is made of."""
    return read_records(find_runs([study]), reflection=None)


def tell(study: Path, *, seed: int, alerts: list[tuple[int, str]]) -> None:
    """Alerts of the RL run of a seed, as (step, name)."""
    lines = [{"generation_steps": step, "alert": name, "message": f"{name} at {step}"} for step, name in alerts]
    (study / "default" / f"seed-{seed}" / "alerts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def picked(records: Records, *keys: str, **options: Any) -> list[tuple[Any, ...]]:
    """Some columns of the rows."""
    return [tuple(row[key] for key in keys) for row in alert_table(records, **options).rows]


def test_each_alert_is_told_by_arm_and_seed_with_the_seeds_concerned(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", epochs=1, questions=2)
    tell(study, seed=0, alerts=[(3, "truncation"), (9, "truncation"), (4, "my_own_rule")])
    tell(study, seed=2, alerts=[(7, "truncation")])
    assert picked(read(study), "arm", "alert", "seeds", "seed", "step", "times", "message") == [
        ("reinforce_pp", "my_own_rule", "1 of 3", 0, 4, 1, "my_own_rule at 4"),
        ("reinforce_pp", "Responses cut off", "2 of 3", 0, 3, 2, "truncation at 3"),
        ("reinforce_pp", "Responses cut off", "2 of 3", 2, 7, 1, "truncation at 7"),
    ]


def test_without_alerts_the_table_says_so(tmp_path: Path) -> None:
    table = alert_table(read(write_study(tmp_path / "study", epochs=1, questions=2)))
    assert table.rows == ()
    assert "No run raised an alert" in table.note


def test_a_run_without_the_file_may_never_have_been_watched(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", epochs=1, questions=2)
    (study / "default" / "seed-1" / "alerts.jsonl").unlink()
    records = read(study)
    assert [run.alerts for run in records.trained[0].runs] == [(), None, ()]
    note = alert_table(records).note
    assert "1 of 6 runs left no alerts.jsonl: whether anybody watched them is not known." in note
    assert "No run raised an alert" not in note
    shown = {row["run"]: row["alerts"] for row in run_table(records).rows}
    assert (shown["study/default/seed-0"], shown["study/default/seed-1"]) == (0, None)


def test_other_thresholds_need_no_new_run(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", seeds=(0,), epochs=2, questions=2)
    lengths = [10.0, 10.0, 14.0, 16.0]
    lines = [
        {"event": "train", "generation_steps": step, "epoch": step, "response_length/mean": length}
        for step, length in enumerate(lengths, start=1)
    ]
    (study / "default" / "seed-0" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    records = read(study)
    strict, loose = (
        Watch(rules={"length_explosion": LengthExplosion(window=1, largest_factor=factor)}, quiet=10) for factor in (1.5, 1.6)
    )
    assert picked(records, "alert", "seed", "step", watch=strict) == [("Responses grew long", 0, 4)]
    assert picked(records, watch=loose) == []
