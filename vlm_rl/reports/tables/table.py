"""A table of the report: columns, rows of plain values, how they read on the page and in files (shares in [0, 1])."""

import csv
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlm_rl.evaluation.settings import title_of
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import names, phrase_of, say, sentences_of, words

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


def table_of(
    name: str, rows: Iterable[Row], *, more: Sequence[Column] = (), without: Collection[str] = (), **values: Any
) -> Table:
    """The table that words/tables.toml declares under a name, `more` columns after its own; `values` fill its words."""
    declared = words("tables")[name]
    return Table(
        name=name,
        title=phrase_of(declared["title"], values),
        note=sentences_of(declared["note"], values),
        columns=(*columns_of(name, without=without, **values), *more),
        rows=tuple(rows),
    )


def columns_of(name: str, *, without: Collection[str] = (), **values: Any) -> Iterator[Column]:
    """The columns that words/tables.toml declares for a table, but for those whose keys are `without`."""
    for key, how, title in words("tables")[name]["columns"]:
        if key not in without:
            yield column(key, how=how, title=phrase_of(title, values))


def column(key: str, *, how: str, title: str) -> Column:
    """A column by how its cells are written: `text`, `percent`, `number {:,.1f}` (format of Python) and the like."""
    kind, _, pattern = how.partition(" ")
    if kind in SCALES:
        return number(key, title=title, pattern=pattern or PATTERNS[kind], scale=SCALES[kind])
    return COLUMNS[kind](key, title=title)


def text(key: str, *, title: str) -> Column:
    """A column of words."""
    return Column(key=key, title=title, show=_show_text, is_text=True)


def setting_column(key: str, *, title: str) -> Column:
    """Generation settings: `pass@8_t1.0` in files, `pass@8, T = 1.0` on the page."""
    return Column(key=key, title=title, show=lambda cell: Shown(text=title_of(str(cell))), is_text=True)


def p_column(key: str, *, title: str) -> Column:
    """p-values: `0.012`, or `< 0.001`."""
    return Column(key=key, title=title, show=_show_p)


def percent(key: str, *, title: str) -> Column:
    """A column of shares, shown in percent with one decimal; a t-interval that runs out of [0, 100] is shown cut there."""
    return Column(key=key, title=title, show=lambda cell: _show_number(_within_shares(cell), pattern="{:.1f}", scale=100.0))


def points(key: str, *, title: str) -> Column:
    """A column of differences of shares, shown in percentage points with their sign."""
    return Column(key=key, title=title, show=lambda cell: _show_number(cell, pattern="{:+.1f}", scale=100.0))


def number(key: str, *, title: str, pattern: str = "{:,.0f}", scale: float = 1.0) -> Column:
    """A column of plain numbers, multiplied by `scale` on the page only."""
    return Column(key=key, title=title, show=lambda cell: _show_number(cell, pattern=pattern, scale=scale))


def known_word(word: str) -> str:
    """A word of data or configs that is the project's own as a phrase, or as it is: what a team named itself stays."""
    return next((phrase for phrase in names("known").values() if phrase == word), word)


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


COLUMNS = {"text": text, "setting": setting_column, "percent": percent, "points": points, "p": p_column}
SCALES = {"number": 1.0, "share": 100.0, "gib": 2**-30}  # of numbers on the page; the end of a share's interval is not cut
PATTERNS = {"number": "{:,.0f}", "share": "{:.1f}", "gib": "{:.2f}"}


def _show_p(cell: Cell) -> Shown:
    if not isinstance(cell, float) or math.isnan(cell):
        return Shown(text=MISSING)
    return Shown(text=p_text(cell).removeprefix("p ").removeprefix("= "))


def p_text(p: float) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


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
