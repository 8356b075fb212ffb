"""What W&B keeps of a run without an account, read back by its own `wandb leet inspect`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from tiny_commands import BRIEF, only_run, train

AXES = {
    "*": "generation_steps",
    "val/*": "epoch",
    "test/*": "epoch",
    "train/accuracy_in_epoch": "epoch",
}


def records_of(folder: Path) -> list[dict[str, Any]]:
    """Every record of the only run under a `wandb` folder."""
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_an_offline_run_has_its_group_job_type_axes_and_tables_of_completions(forking: Forking, tmp_path: Path) -> None:
    train(forking, tmp_path, *BRIEF, "study=tracked", "logger=wandb", "logger.offline=true", "completion_tables.every=1")
    run = only_run(tmp_path, study="tracked")
    records = records_of(run.path / "wandb")
    of = {kind: [record[kind] for record in records if record["type"] == kind] for kind in ("run", "metric", "history")}
    assert run.manifest is not None
    assert {(told["run_group"], told["job_type"], told["run_id"]) for told in of["run"]} == {
        ("tracked", "train", run.manifest["wandb_id"])
    }
    axes = {told.get("name") or told["glob_name"]: told.get("step_metric") for told in of["metric"]}  # the last word counts
    assert axes | AXES == axes
    assert {"generation_steps", "gradient_steps", "epoch"} <= axes.keys()
    items = [told["item"] for told in of["history"]]
    curve = [item["generation_steps"] for item in items if "policy/loss" in item]
    assert curve == [1, 2]
    tables = [item for item in items if item.get("completions/train._type") == "table-file"]
    assert [(item["generation_steps"], item["completions/train.nrows"]) for item in tables] == [(1, 4), (2, 4)]
    files = [item["completions/val.path"] for item in items if "completions/val.path" in item]
    kept = [json.loads(next(run.path.glob(f"wandb/offline-run-*/files/{file}")).read_text()) for file in files]
    assert len(kept) == 2  # the vanilla model, and after the epoch
    assert all({"row_id", "image", "response", "verdict"} <= set(table["columns"]) for table in kept)
