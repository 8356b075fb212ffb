"""What tests of formulas share."""

from collections.abc import Iterator

import pytest
import torch
from jaxtyping import config


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """Numbers without a type are float64 for a module: equal means equal to rounding of 1e-16. Modules ask by `pytestmark`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def as_in_a_run() -> Iterator[None]:
    """No annotation is checked, as in a run: pytest's hook would refuse a word that no Literal has before the package does."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
