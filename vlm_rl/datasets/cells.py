"""A cell by the name of its column: `reward_model.ground_truth` is a field inside of another column."""

from collections.abc import Mapping
from typing import Any

Item = Mapping[str, Any]


def path_of(item: Item, column: str) -> tuple[str, ...] | None:
    """The names that lead to a cell, None where there is none. A column of that very name, dots included, comes first."""
    if column in item:
        return (column,)
    for dot in (place for place in range(len(column) - 1, 0, -1) if column[place] == "."):
        inner = item.get(column[:dot])
        if isinstance(inner, Mapping) and (rest := path_of(inner, column[dot + 1 :])):
            return (column[:dot], *rest)
    return None


def cell(item: Item, column: str) -> Any:
    """What stands there, None where there is nothing."""
    value: Any = item
    for name in path_of(item, column) or ():
        value = value[name]
    return None if value is item else value


def inside(item: Item, column: str) -> str:
    """For messages about a dotted name that leads nowhere: what there is where it ends; empty where it has no beginning."""
    for dot in (place for place in range(len(column) - 1, 0, -1) if column[place] == "."):
        if (found := cell(item, column[:dot])) is not None:
            return (
                f"{column[:dot]!r} has {', '.join(found)}" if isinstance(found, Mapping) else f"{column[:dot]!r} has no fields"
            )
    return ""
