"""The report counts from stored texts what the run had counted itself while it was training."""

from pathlib import Path

import pytest
from tiny_commands import NUM_STEPS, only_run

from vlm_rl.reports.reading.files import number
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs


def test_what_a_real_run_logged_is_what_its_texts_say(whole: Path) -> None:
    run = only_run(whole, study="whole")
    logged = [line for line in run.lines("metrics.jsonl") if line["event"] == "train"]
    (arm,) = read_records(find_runs([run.path]), reflection=None).arms
    (records,) = arm.runs
    assert records.stored_steps == tuple(range(1, NUM_STEPS + 1))
    for line, counted in zip(logged, records.training, strict=True):
        assert line.keys() <= counted.keys()
        for key in line.keys() - {"event"}:
            assert number(counted, key=key) == pytest.approx(number(line, key=key), nan_ok=True), key
