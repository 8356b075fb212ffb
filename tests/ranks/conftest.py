"""A forking server for what one rank does."""

from collections.abc import Iterator

import pytest
from forking import Forking


@pytest.fixture(scope="module")
def forking() -> Iterator[Forking]:
    """Starts commands without importing everything again."""
    server = Forking()
    yield server
    server.close()
