"""One small model of each family of Transformers, built once through the family's own config."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from families.build import FAMILIES, build
from families.trials import CONFIGS
from omegaconf import OmegaConf
from tiny_runs import Build, trembling

from vlm_rl.commands.build import Experiment
from vlm_rl.commands.build import build as build_run

SIZES = ("dataset.batch_size=2", "dataset.ppo_batch_size=2", "dataset.source.train_rows=10", "dataset.max_new_tokens=8")
SMALL = ("model.dtype=float32", "model.lora.rank=4", "algorithm.group_size=2", "preflight.cache=null")
Variant = Callable[..., Experiment]


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's model."""
    return cache(lambda family: build(family, tmp_path_factory.mktemp(family)))


@pytest.fixture(scope="session")
def family_whole(built: Build, family: str, family_folder: Callable[[str], Path]) -> Experiment:
    """All objects of a run: model={the family's config} over its small model. test_families_training.py trains this one."""
    return built(f"model={CONFIGS[family]}", f"model.name={family_folder(family)}", *SMALL, *SIZES, tremble=False)


@pytest.fixture(scope="session")
def family_variant(family_whole: Experiment) -> Iterator[Variant]:
    """The same run with other settings of `model`, by name, as freeze=[]."""
    experiments: list[Experiment] = []

    def make(*, tremble: bool = True, **settings: object) -> Experiment:
        cfg = family_whole.cfg.copy()
        cfg.model = OmegaConf.merge(cfg.model, settings)
        experiments.append(build_run(cfg))
        if tremble:
            trembling(experiments[-1].policy)
        return experiments[-1]

    yield make
    for experiment in experiments:
        experiment.reward.close()


@pytest.fixture(scope="session")
def family_experiment(family_variant: Variant) -> Experiment:
    """LoRA on the language part, adapters not zero; nobody trains it."""
    return family_variant()
