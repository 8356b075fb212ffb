"""A judge for checks of rows."""

from collections.abc import Iterator

import pytest

from vlm_rl.rewards.judge import Judge


@pytest.fixture
def judge() -> Iterator[Judge]:
    """Starts no process for plain numbers."""
    made = Judge(num_workers=1, timeout_s=2.0)
    yield made
    made.close()
