"""Checks of types that leave pictures alone, and a cache of the library `datasets` where tests may write."""

import inspect
import typing
from pathlib import Path

import datasets.config
import pytest


@pytest.fixture(autouse=True)
def no_picture_is_opened_by_a_check_of_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Python 3.12 `isinstance(picture, ImageSource)` reads key and size: a broken picture would fail there."""
    absent = object()
    monkeypatch.setattr(
        typing, "hasattr", lambda thing, name: inspect.getattr_static(thing, name, absent) is not absent, raising=False
    )


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of each test its own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder
