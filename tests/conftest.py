"""The tiny VLM, built once for all tests that only read it; whoever trains builds its own."""

import inspect
import os
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from forking import Forking
from tiny_runs import Build, Sheet, roll_out, small

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models.policy import Policy
from vlm_rl.types import Trajectory

ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: "test_as_people_start_it" not in item.nodeid)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What checks of rows remember is no user's; the commands that tests start inherit it."""
    os.environ["VLM_RL_CACHE"] = str(tmp_path_factory.mktemp("preflight"))


def has(thing: object, name: str) -> bool:
    """Whether there is such an attribute, without asking for its value."""
    try:
        inspect.getattr_static(thing, name)
    except AttributeError:
        return False
    return True


@pytest.fixture(autouse=True)
def no_picture_is_opened_by_a_check_of_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Python 3.12 `isinstance(picture, ImageSource)` reads key and size: a broken picture would fail there."""
    monkeypatch.setattr(typing, "hasattr", has, raising=False)


@pytest.fixture(scope="session")
def forking() -> Iterator[Forking]:
    """Starts commands and scripts of the tests without importing everything again."""
    server = Forking(PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path]))
    yield server
    server.close()


@pytest.fixture(scope="session")
def built() -> Iterator[Build]:
    """Builds experiments and closes their judges."""
    experiments: list[Experiment] = []

    def make(*overrides: str, tremble: bool = True) -> Experiment:
        experiments.append(small(*overrides, tremble=tremble))
        return experiments[-1]

    yield make
    for experiment in experiments:
        experiment.reward.close()


@pytest.fixture(scope="session")
def experiment(built: Build) -> Experiment:
    """Groups of two; nobody trains it."""
    return built("algorithm.group_size=2")


@pytest.fixture(scope="session")
def policy(experiment: Experiment) -> Policy:
    """LoRA over float32, adapters not zero; nobody trains it."""
    return experiment.policy


@pytest.fixture(scope="session")
def trajectory(experiment: Experiment) -> Trajectory:
    """Sixteen responses of the policy to eight queries, scores drawn."""
    return roll_out(experiment)


@pytest.fixture(scope="session")
def mixed_rows() -> list[Row]:
    """No image, one image and three images of different sizes, in prompts of different lengths."""
    sheets = [Sheet(i, width=84 + 28 * i) for i in range(4)]
    return [
        Row(id="none", question="What is 3 + 4?", answer="7", solution="7", images=()),
        Row(id="one", question="<image>Find AB in the figure above, please.", answer="1", solution="1", images=(sheets[0],)),
        Row(id="three", question="<image><image>Or <image>?", answer="2", solution="2", images=tuple(sheets[1:])),
    ]
