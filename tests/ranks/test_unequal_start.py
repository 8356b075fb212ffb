"""Gradients are added up by hand, so it is DDP that makes the weights of all ranks equal before the first step."""

import json
from pathlib import Path

import pytest
import unequal_start
from forked import on_two_ranks
from forking import Forking
from tiny_commands import BRIEF


@pytest.mark.slow
def test_every_rank_begins_with_the_weights_of_the_first(forking: Forking, tmp_path: Path) -> None:
    words = (*BRIEF, "study=s", "trainer.devices=2", "trainer.strategy=ddp")
    ended = on_two_ranks(forking, unequal_start.__file__, words, cwd=tmp_path)
    assert ended.code == 0, ended.err
    first, second = (json.loads((tmp_path / f"weights-of-rank-{rank}.json").read_text()) for rank in (0, 1))
    assert all(left != right for left, right in zip(first["before"], second["before"], strict=True))
    assert first["after"] == second["after"] == first["before"]
