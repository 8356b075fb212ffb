"""A table of the report: columns, rows of plain values, how they read on the page and in files (shares in [0, 1])."""

import csv
import io
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    how: str  # a kind of TEXTS, or one of NUMBERS and, where it is not the usual, a format of Python: `number {:,.1f}`

    @property
    def is_text(self) -> bool:
        """Whether it is aligned left."""
        return self.how in ("text", "setting", "command")

    def show(self, cell: Cell) -> Shown:
        """The cell as it is written in this column."""
        kind, _, pattern = self.how.partition(" ")
        if kind in NUMBERS:
            usual, scale = NUMBERS[kind]
            return _show_number(cell, pattern=pattern or usual, scale=scale, is_cut=kind == "percent")
        is_missing = cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))
        return Shown(text=MISSING if is_missing else TEXTS[kind](cell))


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
        names = list(dict.fromkeys(name for row in flat for name in row)) or [column.key for column in self.columns]
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow([no_formula(name) for name in names])
        writer.writerows([no_formula(row.get(name)) for name in names] for row in flat)
        return write_whole(path, text=lines.getvalue())


def no_formula(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets a quote in front, as OWASP advises; numbers stay numbers.

    A carriage return becomes a line feed: Python writes it without quotes, and it would begin a row.
    """
    if not isinstance(cell, str):
        return cell
    line = cell.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{line}" if FORMULA.match(cell) else line


def write_whole(path: Path, *, text: str) -> Path:
    """Write a file beside `path` and rename it, so that it appears whole or not at all, and no link in the way is followed."""
    half_written = path.with_name(path.name + ".tmp")
    half_written.unlink(missing_ok=True)
    half_written.write_text(text, encoding="utf-8", errors="replace", newline="")  # a lone surrogate must not cost the report
    os.replace(half_written, path)
    return path


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
    for key, how, title, *_ in words("tables")[name]["columns"]:
        if key not in without:
            yield Column(key=key, how=how, title=phrase_of(title, values))


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


def p_text(p: float) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


TEXTS: Mapping[str, Callable[[Any], str]] = {
    "text": lambda cell: cell if isinstance(cell, str) else str(cell),  # a Phrase stays one
    "command": str,  # with a button on the page that copies it
    "setting": title_of,  # `pass@8_t1.0` in files, `pass@8, T = 1.0` on the page
    "p": lambda cell: p_text(cell).removeprefix("p ").removeprefix("= "),
}
NUMBERS = {  # usual format, and what a value is multiplied by on the page only
    "number": ("{:,.0f}", 1.0),
    "percent": ("{:.1f}", 100.0),  # of a share whose t-interval may run out of [0, 1]: it is shown cut there
    "share": ("{:.1f}", 100.0),  # in percent too, and nothing is cut
    "points": ("{:+.1f}", 100.0),  # percentage points
    "gib": ("{:.2f}", 2**-30),
}


def _show_number(cell: Cell, *, pattern: str, scale: float, is_cut: bool) -> Shown:
    value = cell.estimate if isinstance(cell, Interval) else cell
    if not isinstance(value, int | float) or math.isnan(value):
        return Shown(text=MISSING)
    estimate = _written(scale * value, pattern=pattern)
    if not isinstance(cell, Interval) or math.isnan(cell.low):
        return Shown(text=estimate)
    low, high = (max(0.0, cell.low), min(1.0, cell.high)) if is_cut else (cell.low, cell.high)
    if cell.num_seeds > 1 and math.isclose(low, high, abs_tol=1e-12):
        return Shown(text=estimate, detail=say("(same for all seeds)"))
    ends = ", ".join(_written(scale * end, pattern=pattern) for end in (low, high))
    return Shown(text=estimate, detail=f"[{ends}]")


def _written(value: float, *, pattern: str) -> str:
    """19.85 and 19.849999999999998 are one number and read alike; nothing is never negative."""
    text = pattern.format(float(f"{value:.12g}"))
    return pattern.format(0.0) if MINUS_NOTHING.fullmatch(text) else text


def cells(table: Table, *, row: Row) -> Sequence[tuple[Column, Shown]]:
    """The cells of a row as they are shown, in the order of the columns."""
    return [(column, column.show(row.get(column.key))) for column in table.columns]
