"""A table of the report: columns, rows of plain values, how they read on the page and in files (shares in [0, 1])."""

import csv
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import say

Cell = str | int | float | Interval | None
Row = Mapping[str, Cell]
MISSING = "–"
FORMULA = re.compile(
    r"[\t\r\n]|[\s\x00-\x20\xad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*[=+\-@＝＋－＠]"
)
MINUS_NOTHING = re.compile(r"-0(\.0*)?")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A cell as a person reads it: the value, and small beside it what qualifies the value."""

    text: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its key in files, its title on the page and how its cells are written."""

    key: str
    title: str
    show: Callable[[Cell], Shown]
    is_text: bool = False  # aligned left


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under columns, with what a reader must know to read them."""

    name: str  # of its CSV file and its JSON entry
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def write_csv(self, path: Path) -> Path:
        """One line for each row; an interval takes four columns: x, x_low, x_high, x_seeds."""
        flat = [flatten(row) for row in self.rows]
        names = list(dict.fromkeys(name for row in flat for name in row))
        names = names or [column.key for column in self.columns]
        half_written = fresh(path)
        with half_written.open("w", encoding="utf-8", errors="replace", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([no_formula(name) for name in names])
            writer.writerows([no_formula(row.get(name)) for name in names] for row in flat)
        os.replace(half_written, path)
        return path


def no_formula(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets a quote in front, as OWASP advises; numbers stay numbers.

    A carriage return becomes a line feed: Python writes it without quotes, and it would begin a row.
    """
    if not isinstance(cell, str):
        return cell
    line = cell.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{line}" if FORMULA.match(cell) else line


def fresh(path: Path) -> Path:
    """Where a file is written before it is renamed to `path`; nothing is there, so that no link can be followed."""
    half_written = path.with_name(path.name + ".tmp")
    half_written.unlink(missing_ok=True)
    return half_written


def text(key: str, *, title: str) -> Column:
    """A column of words."""
    return Column(key=key, title=title, show=_show_text, is_text=True)


def setting_column() -> Column:
    """Generation settings: `pass@8_t1.0` in files, `pass@8, T = 1.0` on the page."""
    return Column(key="setting", title=say("Setting"), show=lambda cell: Shown(text=title_of(str(cell))), is_text=True)


def percent(key: str, *, title: str) -> Column:
    """A column of shares, shown in percent with one decimal; a t-interval that runs out of [0, 100] is shown cut there."""
    return Column(key=key, title=title, show=lambda cell: _show_number(_within_shares(cell), pattern="{:.1f}", scale=100.0))


def points(key: str, *, title: str) -> Column:
    """A column of differences of shares, shown in percentage points with their sign."""
    return Column(key=key, title=title, show=lambda cell: _show_number(cell, pattern="{:+.1f}", scale=100.0))


def number(key: str, *, title: str, pattern: str = "{:,.0f}", scale: float = 1.0) -> Column:
    """A column of plain numbers, multiplied by `scale` on the page only."""
    return Column(key=key, title=title, show=lambda cell: _show_number(cell, pattern=pattern, scale=scale))


def flatten(row: Row) -> dict[str, Any]:
    """Plain values only; missing numbers are None."""
    flat: dict[str, Any] = {}
    for key, cell in row.items():
        if isinstance(cell, Interval):
            flat |= {key: cell.estimate, f"{key}_low": cell.low, f"{key}_high": cell.high, f"{key}_seeds": cell.num_seeds}
        else:
            flat[key] = cell
    return {key: finite(value) for key, value in flat.items()}


def finite(value: Any) -> Any:
    """The value, or None for a number that is none: files say `null`, never `NaN`."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show_text(cell: Cell) -> Shown:
    if cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell)):
        return Shown(text=MISSING)
    return Shown(text=cell if isinstance(cell, str) else str(cell))  # a Phrase stays one


def _show_number(cell: Cell, *, pattern: str, scale: float) -> Shown:
    value = cell.estimate if isinstance(cell, Interval) else cell
    if not isinstance(value, int | float) or math.isnan(value):
        return Shown(text=MISSING)
    estimate, *ends = (_written(scale * known, pattern=pattern) for known in (value, *_ends(cell)))
    if isinstance(cell, Interval) and cell.num_seeds > 1 and math.isclose(cell.low, cell.high, abs_tol=1e-12):
        return Shown(text=estimate, detail=say("(same for all seeds)"))
    return Shown(text=estimate, detail=f"[{', '.join(ends)}]" if ends else "")


def _ends(cell: Cell) -> tuple[float, ...]:
    return (cell.low, cell.high) if isinstance(cell, Interval) and not math.isnan(cell.low) else ()


def _within_shares(cell: Cell) -> Cell:
    if not isinstance(cell, Interval) or math.isnan(cell.low):
        return cell
    return replace(cell, low=max(0.0, cell.low), high=min(1.0, cell.high))


def _written(value: float, *, pattern: str) -> str:
    """19.85 and 19.849999999999998 are one number and read alike; nothing is never negative."""
    text = pattern.format(float(f"{value:.12g}"))
    return pattern.format(0.0) if MINUS_NOTHING.fullmatch(text) else text


def cells(table: Table, *, row: Row) -> Sequence[tuple[Column, Shown]]:
    """The cells of a row as they are shown, in the order of the columns."""
    return [(column, column.show(row.get(column.key))) for column in table.columns]
