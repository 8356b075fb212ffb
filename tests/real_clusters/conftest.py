"""Tests on a real SLURM and a real Ray: skipped unless CLUSTERS_PYTHON names a Python with both extras, as `make test-clusters` does."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from ray_cluster import ray_cluster
from slurm_daemons import slurm
from studies import LONG, Checkout, Run

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a cluster, where none was asked for. Elsewhere SIGTERM ends the tests as Ctrl-C does, and with them all daemons."""
    if "CLUSTERS_PYTHON" in os.environ:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    else:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="no SLURM and no Ray asked for: make test-clusters"))


@pytest.fixture(scope="session")
def slurm_variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Of a SLURM of one node."""
    with slurm(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


@pytest.fixture(scope="session")
def ray_variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Of a Ray of one node."""
    with ray_cluster(tmp_path_factory.mktemp("ray")) as variables:
        yield variables


@pytest.fixture
def on_slurm(slurm_variables: Mapping[str, str], tmp_path: Path) -> Checkout:
    """A checkout from which SLURM is seen."""
    return Checkout.made(tmp_path, slurm_variables)


@pytest.fixture
def on_ray(ray_variables: Mapping[str, str], tmp_path: Path) -> Checkout:
    """A checkout from which Ray is seen."""
    return Checkout.made(tmp_path, ray_variables)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Run]:
    """The long run of a seed that nothing interrupted; two are trained together."""
    checkout = Checkout.made(tmp_path_factory.mktemp("undisturbed"), {})

    def reference(seed: int) -> Run:
        run = checkout.run("reference", seed=seed)
        if not run.is_finished:
            first = seed - seed % 2
            checkout.typed("this_machine.sh", "study=reference", *LONG, f"seed={first},{first + 1}").finishes()
        return run

    return reference
