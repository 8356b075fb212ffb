"""Where nothing can be learned, the whole way from the loop to the report never says "improvement"."""

import json
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from tiny_commands import train

# Three seeds on the real answers of the shipped model, of which most are right within 64 tokens.
SMALL = (
    "experiment=smoke",
    "num_threads=1",
    "dataset.source.val_rows=2",
    "dataset.source.test_rows=6",
    "dataset.epochs=1",
    "dataset.max_new_tokens=64",
    "seed=0,1,2",
)


def reported(forking: Forking, cwd: Path) -> tuple[dict[str, Any], str]:
    """The decision of the report on the one study in a folder, and its page."""
    done = forking.run("report.py", ["studies=[outputs/control]"], cwd=cwd)
    assert done.code == 0, done.out + done.err
    folder = cwd / "outputs" / "control"
    numbers = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    (decision,) = numbers["tables"]["decisions"]
    return decision, (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_random_reward_is_no_improvement(forking: Forking, tmp_path: Path) -> None:
    train(forking, tmp_path, *SMALL, "study=control", "reward=random", "-m")
    decision, page = reported(forking, tmp_path)
    assert decision["seeds"] == "3"
    assert "is an improvement" not in page  # of any arm, in any table or sentence
    assert decision["verdict"] in ("no evidence either way", "no difference larger than 2 points", "harm")
