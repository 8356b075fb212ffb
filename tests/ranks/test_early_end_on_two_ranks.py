"""Two ranks end by the accuracy of all their responses: at the epoch, and by the numbers, at which one rank ends."""

from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from test_early_end import END, ENDING, told
from tiny_commands import only_run, train
from typed import TRAIN, typed

from vlm_rl.run_folder import RunFolder


def event(run: RunFolder) -> dict[str, Any]:
    (line,) = (line for line in run.lines("metrics.jsonl") if line["event"] == "bottleneck")
    return line


@pytest.mark.slow
def test_two_ranks_end_at_the_same_epoch_by_the_same_numbers(forking: Forking, tmp_path: Path) -> None:
    train(forking, tmp_path, *ENDING, "study=one")
    finished = typed((*TRAIN, *ENDING, "trainer.devices=2", "study=two"), cwd=tmp_path)
    assert finished.code == 0, finished.out
    one, two = (only_run(tmp_path, study=study) for study in ("one", "two"))
    assert told(one) == told(two) == END
    assert event(one) == event(two)
    assert finished.out.count("Ended by its bottleneck") == 1
