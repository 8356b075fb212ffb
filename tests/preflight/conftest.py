"""Checks of types that leave pictures alone, and a judge."""

import inspect
import typing
from collections.abc import Iterator

import pytest

from vlm_rl.rewards.judge import Judge


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


@pytest.fixture
def judge() -> Iterator[Judge]:
    """Starts no process for plain numbers."""
    made = Judge(num_workers=1, timeout_s=2.0)
    yield made
    made.close()
