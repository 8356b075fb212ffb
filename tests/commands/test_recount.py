"""The report counts from stored texts what the run had counted itself while it was training."""

from pathlib import Path

import pytest
from tiny_commands import NUM_STEPS, only_run

from vlm_rl.reports.reading.files import number
from vlm_rl.reports.reading.training import count_training

pytestmark = pytest.mark.slow


def test_what_a_real_run_logged_is_what_its_texts_say(whole: Path) -> None:
    run = only_run(whole, study="whole")
    logged = [line for line in run.lines("metrics.jsonl") if line["event"] == "train"]
    config = (run.manifest or {})["config"]
    counted = count_training((), run_folder=run.path, role="policy", config=config, reflection=None, rejudge=None)
    assert counted.stored_steps == tuple(range(1, NUM_STEPS + 1))
    families = ("train/accuracy", "train/reward_", "judge/", "response_length/", "reflection/", "language/")
    for line, record in zip(logged, counted.records, strict=True):
        own = [key for key in line if key.startswith(families) and key != "train/reward_std"] + ["train/reward", "epoch"]
        assert len(own) > 30
        for key in own:
            assert number(record, key=key) == pytest.approx(number(line, key=key), nan_ok=True), key
