"""What each run is doing, by what lies in its folder, and that nothing is judged while a study grows."""

import json
import math
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_manifest, write_metrics, write_study
from judged_studies import FIVE, gained, records
from usual import usual_settings

from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.composition import content_of
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.at_work import RunState, find_at_work
from vlm_rl.reports.reading.doubts import Doubt
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.tables.run_tables import state_table
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint
from vlm_rl.reports.verdicts.family import verdicts_of
from vlm_rl.reports.verdicts.verdict_sentences import sentence_of, sentences
from vlm_rl.run_lock import this_process

COMMAND = "python train.py seed=0,1,2,3 -m"
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def unfinished(study: Path, *, seed: int, **changes: Any) -> Path:
    """A run that came to step 5 of 20 (epoch 1 of 4) in 100 seconds."""
    import numpy as np

    run = study / "default" / f"seed-{seed}"
    config = {"seed": seed, "dataset": {"epochs": 4}}
    start = {"time": BEGUN.isoformat(), "host": "h", "generation_steps": 0}
    made = {"status": "running", "command": COMMAND, "config": config, "history": [start]} | changes
    write_manifest(run, algorithm="grpo", seed=seed, arm="a" * 16, vanilla=None, **made)
    write_metrics(run, steps=5, epochs=1, generator=np.random.default_rng(0))
    os.utime(run / "metrics.jsonl", (BEGUN.timestamp() + 100,) * 2)
    return run


def hold(run: Path, *, command: str = COMMAND) -> None:
    run.mkdir(parents=True, exist_ok=True)
    (run / ".holder.json").write_text(json.dumps(this_process(command).__dict__))


def read(study: Path) -> Records:
    found = find_runs([study])
    return read_records(found, reflection=None, at_work=find_at_work(found))


def states(study: Path) -> dict[str, RunState]:
    return {one.run.removeprefix("s/"): one for one in read(study).states}


def test_a_run_at_work_has_its_step_and_the_time_left_by_its_pace(tmp_path: Path) -> None:
    study = tmp_path / "s"
    hold(unfinished(study, seed=0))
    found = states(study)
    run = found["default/seed-0"]
    assert (run.state, run.step, run.steps, run.seconds_left) == ("running", 5, 20, pytest.approx(300))
    assert {name: one.state for name, one in found.items()} == {
        "default/seed-0": "running",
        **{f"default/seed-{seed}": "waiting" for seed in (1, 2, 3)},
    }
    assert found["default/seed-1"].what == "A command that is at work names it. Its turn has not come."


def test_a_run_that_was_begun_before_waits_for_the_command_that_is_at_work(tmp_path: Path) -> None:
    study = tmp_path / "s"
    unfinished(study, seed=0)
    hold(study / "default" / "seed-1")
    found = states(study)
    assert [found[f"default/seed-{seed}"].state for seed in (0, 1, 2)] == ["waiting", "starting", "waiting"]
    assert "comes to it" in found["default/seed-0"].what
    hold(study / "default" / "seed-1", command="python train.py seed=1")
    assert states(study)["default/seed-0"].state == "interrupted"


def test_where_nobody_is_at_work_the_page_says_what_to_type(tmp_path: Path) -> None:
    study = tmp_path / "s"
    unfinished(study, seed=0)
    (unfinished(study, seed=1) / "train.log").write_text(
        "2026-01-01 00:00:00,000 INFO Begun: seed=1\n2026-01-01 00:01:00,000 ERROR Failed.\nTraceback\nValueError: no rows\n"
    )
    log = unfinished(study, seed=2) / "train.log"
    log.write_text("2026-01-01 00:00:00,000 ERROR Failed.\nold\n2026-01-01 00:01:00,000 INFO Begun: seed=2\n")
    found = states(study)
    assert [found[f"default/seed-{seed}"].state for seed in range(4)] == ["interrupted", "failed", "interrupted", "waiting"]
    assert found["default/seed-1"].what.startswith("Its last words in train.log: ValueError: no rows.")
    assert all(found[f"default/seed-{seed}"].what.endswith(f": {COMMAND}") for seed in (0, 1, 3))
    assert math.isnan(found["default/seed-0"].seconds_left)


def test_the_table_of_states_is_there_until_all_have_finished() -> None:
    left = RunState(run="a", state="running", step=5, steps=20, seconds_left=90.0)
    (row,) = state_table([left]).rows
    assert (row["step"], row["steps"], row["minutes_left"]) == (5, 20, 1.5)
    assert state_table([replace(left, state="finished")]).rows == ()


def test_a_study_with_a_run_at_work_is_not_judged_in_any_arm_until_that_is_accepted(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s", arms=(("grpo", "default", "a", 0.3), ("rloo", "rloo", "b", 0.3)), epochs=1)
    assert {one.outcome for one in content_of(read(study), settings=usual_settings()).verdicts} == {Outcome.IMPROVEMENT}
    hold(study / "rloo" / "seed-3")
    growing = content_of(read(study), settings=usual_settings())
    assert {one.outcome for one in growing.verdicts} == {Outcome.NOT_JUDGED}
    assert "Wait until all runs have finished" in growing.decision.action
    accepted = content_of(read(study), settings=usual_settings(accept=("growing",)))
    assert {one.outcome for one in accepted.verdicts} == {Outcome.IMPROVEMENT}
    os.utime(study / "rloo" / "seed-3" / ".holder.json", (time.time() - 100,) * 2)
    assert {one.outcome for one in content_of(read(study), settings=usual_settings()).verdicts} == {Outcome.IMPROVEMENT}


def test_a_study_where_somebody_was_at_work_a_moment_ago_still_grows(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s", arms=(("grpo", "default", "a", 0.3),), epochs=1)
    found = find_runs([study])
    at_work = find_at_work(found, lately=[study.resolve()])
    assert read_records(found, reflection=None, at_work=at_work).trained[0].doubts[0].kind == "growing"


def test_the_sentence_says_what_to_do_instead() -> None:
    doubt = Doubt(kind="growing", said=say("s: runs are still at work."))
    arm = replace(gained("grpo", *FIVE), doubts=(doubt,))
    study = records(arm)
    (verdict,) = verdicts_of(study, choice=choose_endpoint(study), reference=None)
    assert "runs of the study are still at work, so wait until all have finished" in sentence_of(verdict, "headline")
    assert "report.accept=[growing]" in sentences(verdict)[0]
