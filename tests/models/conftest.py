"""One small model of each family of Transformers, built once through the family's own config."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from families.build import FAMILIES, build
from families.trials import settings_of
from omegaconf import OmegaConf
from tiny_runs import trembling

from vlm_rl.commands.build import Experiment, composed
from vlm_rl.commands.build import build as build_run

Variant = Callable[..., Experiment]


@pytest.fixture(scope="session", params=[pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES])
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's model."""
    return cache(lambda family: build(family, tmp_path_factory.mktemp(family)))


@pytest.fixture(scope="session")
def family_variant(family: str, family_folder: Callable[[str], Path]) -> Iterator[Variant]:
    """All objects of a run, model={the family's config} over its small model; settings of `model` by name, as freeze=[]."""
    base = composed(settings_of(family, family_folder(family)))
    experiments: list[Experiment] = []

    def make(*, tremble: bool = True, **settings: object) -> Experiment:
        cfg = base.copy()
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
