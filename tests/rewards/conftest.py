"""One judge for the whole folder: its worker starts once, with the first answer that needs it."""

from collections.abc import Iterator

import pytest

from vlm_rl.rewards.judge import Judge


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    with Judge(num_workers=1, timeout_s=1.0) as shared:
        yield shared
