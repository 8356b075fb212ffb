"""One seed is one result, wherever and beside whatever it runs."""

from pathlib import Path

import pytest
from forking import Forking
from tiny_commands import BRIEF, content, only_run, train

pytestmark = pytest.mark.slow  # whole runs


def test_seed_2_alone_equals_seed_2_as_third_of_a_sweep_and_no_other_seed(
    forking: Forking, seed_2: dict[str, str], tmp_path: Path
) -> None:
    finished = train(forking, tmp_path, *BRIEF, "study=sweep", "seeds=paper")  # no -m needed
    assert "step 2/2" in finished.out
    seeds = [content(only_run(tmp_path, study="sweep", seed=seed)) for seed in (0, 1, 2)]
    assert seeds[2] == seed_2
    for name in ("metrics.jsonl", "checkpoints/step-000002/adapter_model.safetensors"):
        assert len({seed[name] for seed in seeds}) == 3
