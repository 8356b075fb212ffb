import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def calibration() -> Iterator[Any]:
    """benchmarks/calibration.py as a module; it lies outside the package and imports its neighbours."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import calibration

        yield calibration
    finally:
        sys.path.remove(str(BENCHMARKS))
