"""Decisions are the first rank's, turns do not overlap, and nobody sits in a collective while another waits for a lock."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import few_processes
from typed import ROOT


def told(case: str, folder: Path, *, num_ranks: int = 2) -> list[Any]:
    """What each rank found."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, few_processes.__file__, str(folder), case, str(num_ranks)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(num_ranks)]


def test_the_first_rank_decides_and_any_rank_is_heard(tmp_path: Path) -> None:
    first, second = told("same_answers", tmp_path)
    assert first == second == [True, True, False, [0, 1]]


def test_ranks_of_a_machine_take_turns_so_that_one_model_at_a_time_is_in_its_memory(tmp_path: Path) -> None:
    """Eight: a broadcast goes from rank to rank in a tree, and would let two of them in at once."""
    turns = told("turns", tmp_path, num_ranks=8)
    assert all(enters >= leaves for (_, leaves), (enters, _) in itertools.pairwise(turns))


def test_nobody_sits_in_a_collective_longer_than_its_limit_while_another_arm_evaluates(tmp_path: Path) -> None:
    """The lock is held for longer than a collective may take; a rank that simply waited for the first one would fail."""
    waited = told("a_long_wait", tmp_path)
    assert min(waited) > few_processes.HELD_S - 0.5 > few_processes.LIMIT_S
