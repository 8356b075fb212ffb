"""A cell by the name of its column, and its value as text. Missing values and control characters are refused."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from vlm_rl.datasets.row import BadRow

# Tab, line feed, carriage return and NEL are text; joiners and direction marks are no control characters.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
LOST_BACKSLASH = {"\x07": "a", "\x08": "b", "\x0b": "v", "\x0c": "f"}  # what \beta and \frac begin with

# How pandas and NumPy write a missing value as text. None, null and N/A are kept: people write them as answers.
MISSING_TEXTS = frozenset({"nan", "NaN", "NAN", "-nan", "<NA>", "NaT"})
Item = Mapping[str, Any]


def is_missing(value: Any) -> bool:
    """Whether the value is missing: null, the number NaN, or a text that a program writes for it."""
    if isinstance(value, str):
        return value.strip() in MISSING_TEXTS
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_short(value: Any) -> bool:
    """Whether the value is a text, a number or a truth value."""
    return isinstance(value, str | int | float | Decimal)


def plain(value: str | int | float | Decimal) -> str:
    """The value as text; a decimal keeps its zeros and has no exponent."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def text_of(value: Any, *, place: str, is_category: bool = False) -> str:
    """The text of a value. Raises BadRow, naming `place`.

    A category may be true or false; a question or an answer may not.
    """
    if isinstance(value, bool) and not is_category:
        raise BadRow(f"{place} is {str(value).lower()}, neither text nor a number. Write it as a text, or drop the row.")
    if not is_short(value):
        raise BadRow(f"{place} is a {type(value).__name__}, neither text nor a number.")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRow(f"{place} is {value}, which is no number. Fill it in, or drop the row.")
    text = plain(value)
    if is_missing(text):
        raise BadRow(f"{place} is the text {text.strip()!r}, which stands for a missing value. Fill it in, or drop the row.")
    if found := CONTROL.search(text):
        raise BadRow(f"{place} holds the control character U+{ord(found[0]):04X}, which is no text. {_advice(found[0])}")
    return text


def _advice(character: str) -> str:
    if (written := LOST_BACKSLASH.get(character)) is None:
        return "Take it out, or drop the row."
    return rf"Write a backslash of LaTeX twice in JSON (\\{written}), or take it out."


def path_of(item: Item, column: str) -> tuple[str, ...] | None:
    """The path of names to a cell, None where there is none. A column whose own name has the dots comes first."""
    if column in item:
        return (column,)
    for dot in (place for place in range(len(column) - 1, 0, -1) if column[place] == "."):
        inner = item.get(column[:dot])
        if isinstance(inner, Mapping) and (rest := path_of(inner, column[dot + 1 :])):
            return (column[:dot], *rest)
    return None


def cell(item: Item, column: str) -> Any:
    """The value of a cell, None where there is none."""
    value: Any = item
    for name in path_of(item, column) or ():
        value = value[name]
    return None if value is item else value


def inside(item: Item, column: str) -> str:
    """For messages about a dotted name without a cell: the fields of its longest part that exists; else empty."""
    for dot in (place for place in range(len(column) - 1, 0, -1) if column[place] == "."):
        if (found := cell(item, column[:dot])) is not None:
            return (
                f"{column[:dot]!r} has {', '.join(found)}" if isinstance(found, Mapping) else f"{column[:dot]!r} has no fields"
            )
    return ""
