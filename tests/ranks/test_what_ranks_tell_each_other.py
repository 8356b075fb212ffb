"""Decisions are the first rank's, turns do not overlap, and nobody sits in a collective while another waits for a lock."""

import itertools
from pathlib import Path

import few_processes
import pytest
from forked import on_ranks
from forking import Forking

SCRIPT = few_processes.__file__


@pytest.mark.slow
def test_the_first_rank_decides_and_any_rank_is_heard(forking: Forking, tmp_path: Path) -> None:
    first, second = on_ranks(forking, SCRIPT, "same_answers", tmp_path)
    assert first == second == [True, True, False, [0, 1]]


@pytest.mark.slow
def test_ranks_of_a_machine_take_turns_so_that_one_model_at_a_time_is_in_its_memory(forking: Forking, tmp_path: Path) -> None:
    """Eight: a broadcast goes from rank to rank in a tree, and would let two of them in at once."""
    turns = on_ranks(forking, SCRIPT, "turns", tmp_path, num_ranks=8)
    assert all(enters >= leaves for (_, leaves), (enters, _) in itertools.pairwise(turns))


@pytest.mark.slow
def test_nobody_sits_in_a_collective_longer_than_its_limit_while_another_arm_evaluates(
    forking: Forking, tmp_path: Path
) -> None:
    """The lock is held for longer than a collective may take; a rank that simply waited for the first one would fail."""
    waited = on_ranks(forking, SCRIPT, "a_long_wait", tmp_path)
    assert min(waited) > few_processes.HELD_S - 0.5 > few_processes.LIMIT_S
