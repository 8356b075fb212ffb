"""In what the arms of a comparison were not given the same, in words: beside the numbers of the fairness table."""

from collections.abc import Iterator, Sequence

from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import Phrase, listed, say, say_named
from vlm_rl.reports.tables.table import Cell, Row

MOST_ALIKE = 1.1  # times as much is still called the same


def differences(rows: Sequence[Row]) -> Iterator[Phrase]:
    """A sentence for each quantity that differs; one if none does, nothing of a single arm."""
    if len(rows) < 2:
        return
    is_other = len({row["data"] for row in rows}) > 1
    other_data = [say("The arms were trained on different data.")] if is_other else []
    found = [*other_data, *(said for key in ("rows", "epochs", "updates", "tokens") for said in _unequal(rows, key=key))]
    yield from found or [say("They agree in data, rows, epochs, updates and response tokens, to a tenth.")]


def selections(rows: Sequence[Row]) -> Iterator[Phrase]:
    """How learning rates were chosen, each text once."""
    arms: dict[str, list[str]] = {}
    for row in rows:
        selection = row["selection"]
        arms.setdefault(selection if isinstance(selection, str) else str(selection), []).append(str(row["arm"]))
    for selection, labels in arms.items():
        if len(arms) == 1:
            yield say("How the learning rate was chosen: {selection}.", selection=selection)
        else:
            yield say("How the learning rate of {arms} was chosen: {selection}.", arms=listed(labels), selection=selection)


def _unequal(rows: Sequence[Row], *, key: str) -> Iterator[Phrase]:
    known = {str(row["arm"]): value for row in rows if (value := _value(row[key])) > 0}
    most, least = max(known, key=known.__getitem__, default=""), min(known, key=known.__getitem__, default="")
    times = known[most] / known[least] if known else 1.0
    if times >= MOST_ALIKE:
        yield say_named(f"fairness.unequal.{key}", most=most, least=least, times=times)


def _value(cell: Cell) -> float:
    """NaN, which is not above 0, where there is none."""
    value = cell.estimate if isinstance(cell, Interval) else cell
    return float(value) if isinstance(value, int | float) else float("nan")
