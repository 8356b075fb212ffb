"""Gradients are added up by hand, so it is DDP that makes the weights of all ranks equal before the first step."""

import json
from pathlib import Path

import pytest
import unequal_start
from tiny_commands import BRIEF
from typed import TORCHRUN, typed


@pytest.mark.slow
def test_every_rank_begins_with_the_weights_of_the_first(tmp_path: Path) -> None:
    words = (*TORCHRUN[:-1], unequal_start.__file__, *BRIEF, "study=s", "trainer.devices=2", "trainer.strategy=ddp")
    ended = typed(words, cwd=tmp_path)
    assert ended.code == 0, ended.out
    first, second = (json.loads((tmp_path / f"weights-of-rank-{rank}.json").read_text()) for rank in (0, 1))
    assert all(left != right for left, right in zip(first["before"], second["before"], strict=True))
    assert first["after"] == second["after"] == first["before"]
