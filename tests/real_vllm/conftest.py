"""Tests with a real vLLM server on the CPU: skipped unless VLLM_PYTHON names a Python that has vllm, as `make test-vllm` sets it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from families.build import build
from families.family import TEXT_SIZES
from families.trials import settings_of
from real_server import serving
from served import Served, served_by

HERE = Path(__file__).parent
TINY = ("experiment=smoke", "algorithm=grpo")
THREE_PICTURES = ("--limit-mm-per-prompt", '{"image": 3, "video": 0}')  # the data set itself has one in each prompt
HEADS = {
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}  # of 32 numbers each: vLLM's attention on a CPU takes no smaller ones


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a server, where none can be started."""
    if "VLLM_PYTHON" not in os.environ:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="no vLLM here: make test-vllm"))


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the shipped model."""
    with serving(TINY, *THREE_PICTURES, log=tmp_path_factory.mktemp("tiny") / "server.log") as url:
        yield url


@pytest.fixture(scope="session")
def tiny(tiny_server: str, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The shipped model, of Qwen2.5-VL's architecture."""
    return served_by(TINY, tiny_server, exchange=tmp_path_factory.mktemp("exchange"))


@pytest.fixture(scope="session")
def idefics3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Idefics3 with random weights: it cuts pictures into tiles, each with its name in the prompt."""
    folder = tmp_path_factory.mktemp("idefics3")
    with pytest.MonkeyPatch.context() as patched:
        for name, number in HEADS.items():
            patched.setitem(TEXT_SIZES, name, number)
        build("idefics3", folder / "model")
    words = settings_of("idefics3", folder / "model")
    with serving(words, *THREE_PICTURES, log=folder / "server.log") as url:
        yield served_by(words, url, exchange=folder / "exchange")


@pytest.fixture(scope="session", params=["tiny", "idefics3"])
def served(request: pytest.FixtureRequest) -> Served:
    """Each model in turn."""
    found: Served = request.getfixturevalue(request.param)
    return found
