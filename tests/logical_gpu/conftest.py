"""What the logical GPU saw, by scenario."""

from functools import partial

import pytest
from forking import Forking
from shared_runs import Seen, seen_once, shared_folder


@pytest.fixture(scope="session")
def seen(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What the logical GPU sees of a scenario by name; with a control, of a package in which a move is missing."""
    return partial(seen_once, forking, shared_folder(tmp_path_factory))
