"""Holds numbers that were computed anew against those of report.json, and remembers what agreed, what differed and what was left out."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

EXACT = 1e-6
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Anew:
    """A table that was computed again. Every column of the report's must be among its own or be left out for a reason."""

    name: str
    keys: tuple[str, ...]  # columns that tell rows apart
    rows: Sequence[Row]
    left_out: Mapping[str, str] = field(default_factory=dict)  # column -> why; those of its interval, too
    loose: Mapping[str, float] = field(default_factory=dict)  # column -> tolerance, where both draw at random


@dataclass(kw_only=True)
class Comparison:
    """What came out so far."""

    compared: Counter[str] = field(default_factory=Counter)  # numbers, by table
    differences: list[str] = field(default_factory=list)
    left_out: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (table, column, why) -> numbers

    def table(self, anew: Anew, rows: Sequence[Row]) -> None:
        """Every row and every cell."""
        theirs, ours = ({tuple(row[key] for key in anew.keys): row for row in side} for side in (rows, anew.rows))
        if len(theirs) < len(rows):
            self.differences.append(f"{anew.name}: {len(rows) - len(theirs)} rows of the report have the same {anew.keys}")
        for key in theirs.keys() - ours.keys():
            self.differences.append(f"{anew.name}, {name_of(key)}: the report has this row, and the files do not give it")
        for key in ours.keys() - theirs.keys():
            self.differences.append(f"{anew.name}, {name_of(key)}: the report lacks this row")
        for key in (key for key in theirs if key in ours):
            self.row(anew, where=name_of(key), theirs=theirs[key], ours=ours[key])

    def row(self, anew: Anew, *, where: str, theirs: Row, ours: Row) -> None:
        """Every cell of one row."""
        for column in [*theirs, *(column for column in ours if column not in theirs)]:
            of = re.sub("_(low|high|seeds)$", "", column)
            why = anew.left_out.get(column, anew.left_out.get(of))
            if why is not None:
                self.left_out[anew.name, column if column in anew.left_out else of, why] += holds_number(theirs.get(column))
            elif column not in ours or column not in theirs:
                side = "was not computed anew" if column not in ours else "is not in the report"
                self.differences.append(f"{anew.name}, {where}, {column}: {side}")
            else:
                self.cell(anew, where=f"{where}, {column}", theirs=theirs[column], ours=ours[column], column=column)

    def cell(self, anew: Anew, *, where: str, theirs: Any, ours: Any, column: str) -> None:
        """One value, a number or a text; a missing number is None in the report."""
        tolerance = anew.loose.get(column, EXACT)
        if not agree(theirs, ours, tolerance=tolerance):
            self.differences.append(f"{anew.name}, {where}: the report has {theirs!r}, the files give {ours!r}")
        self.compared[anew.name] += holds_number(theirs)

    def printed(self, where: str, text: str, *, part: str, ours: float, digits: int | None = None) -> None:
        """A number inside a sentence, held against a value of the same unit at the precision that is printed.

        `digits`: significant ones, where that is how it is printed.
        """
        theirs = math.inf if text.startswith("more than") else float(text.replace(",", ""))
        half = 0.5 * 10.0 ** -len(text.partition(".")[2])
        if digits is not None and ours and math.isfinite(ours):
            half = 0.5 * 10.0 ** (math.floor(math.log10(abs(ours))) + 1 - digits)
        if not (theirs == ours or abs(theirs - ours) <= half * (1 + 1e-6) + 1e-9):
            self.differences.append(f"{where}: the page says {text}, the files give {ours!r}")
        self.compared[part] += 1


def name_of(key: Sequence[Any]) -> str:
    """A row as a person finds it."""
    return " / ".join(map(str, key))


def holds_number(value: Any) -> bool:
    """Whether a cell is one of the numbers that are counted."""
    if isinstance(value, str):
        return NUMBER.search(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def agree(theirs: Any, ours: Any, *, tolerance: float) -> bool:
    """Equal texts, or numbers equal to a tolerance, of their size where they are larger than 1."""
    if isinstance(theirs, str) or isinstance(ours, str):
        return theirs == ours or (theirs is None and ours == "")
    a, b = (math.nan if value is None else float(value) for value in (theirs, ours))
    if not math.isfinite(a) or not math.isfinite(b):
        return a == b or (not math.isfinite(a) and not math.isfinite(b) and theirs is None)  # the report has null for both
    return abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))
