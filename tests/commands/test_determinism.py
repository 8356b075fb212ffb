"""One seed is one result, wherever and beside whatever it runs."""

from pathlib import Path

import pytest
from forking import Forking
from tiny_commands import BRIEF, TINY, content, only_run, train


@pytest.fixture(scope="session")
def seed_2(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What seed 2 alone leaves behind."""
    cwd = tmp_path_factory.mktemp("alone")
    train(forking, cwd, *BRIEF, "study=alone", "seed=2")
    return content(only_run(cwd, study="alone", seed=2))


@pytest.mark.slow
def test_two_runs_with_one_seed_are_identical(forking: Forking, whole: Path, tmp_path: Path) -> None:
    train(forking, tmp_path, *TINY, "study=again")
    assert content(only_run(tmp_path, study="again")) == content(only_run(whole, study="whole"))


def test_seed_2_alone_equals_seed_2_as_third_of_a_sweep_and_no_other_seed(
    forking: Forking, seed_2: dict[str, str], tmp_path: Path
) -> None:
    finished = train(forking, tmp_path, *BRIEF, "study=sweep", "seeds=paper")  # no -m needed
    assert "step 2/2" in finished.out
    seeds = [content(only_run(tmp_path, study="sweep", seed=seed)) for seed in (0, 1, 2)]
    assert seeds[2] == seed_2
    for name in ("metrics.jsonl", "checkpoints/step-000002/adapter_model.safetensors"):
        assert len({seed[name] for seed in seeds}) == 3


@pytest.mark.slow
def test_seed_2_is_the_same_in_a_sweep_side_by_side(forking: Forking, seed_2: dict[str, str], tmp_path: Path) -> None:
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=range(1, 3)", "-m"]
    train(forking, tmp_path, *BRIEF, "study=joblib", *launcher)
    assert content(only_run(tmp_path, study="joblib", seed=2)) == seed_2
    assert only_run(tmp_path, study="joblib", seed=1).manifest is not None
