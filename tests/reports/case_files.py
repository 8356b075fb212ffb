"""Cases of tests that are data: in cases/<subject>.toml a table for each test, a line for each case."""

import tomllib
from pathlib import Path
from typing import Any

import pytest


def cases(subject: str, table: str) -> list[Any]:
    """The cases of a table, under their names; a case is one value, or a list with a value for each parameter."""
    found = tomllib.loads((Path(__file__).parent / "cases" / f"{subject}.toml").read_text(encoding="utf-8"))[table]
    return [pytest.param(*(case if isinstance(case, list) else [case]), id=name) for name, case in found.items()]
