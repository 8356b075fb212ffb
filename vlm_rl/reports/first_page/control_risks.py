"""What the blind controls say to people who decide: missing, or the figure was not needed."""

from collections.abc import Iterator

from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import Phrase, listed, say
from vlm_rl.reports.tables.table import Row, Table

VISION = "vision"  # rows whose numbers are only in the figure
MOST_ABOVE_CHANCE = 0.1  # share: blind accuracy further above chance means that the figure is not needed


def control_risks(controls: Table, *, split: str) -> Iterator[Phrase]:
    """For each model of the table of blind controls."""
    rows = [row for row in controls.rows if row["split"] == split]
    without = list(dict.fromkeys(row["model"] for row in rows if row.get("to_do")))
    if without:
        yield say(
            "Blind controls are missing for {models}: nobody has shown that the figures are read. The commands that make them "
            "stand under “Was the figure read?”.",
            models=listed(map(_label, without)),
        )
    for row in rows:
        yield from _not_needed(row)


def _not_needed(row: Row) -> Iterator[Phrase]:
    blind = [value.estimate for key in ("blank", "shuffled") if isinstance(value := row.get(key), Interval) and value.num_seeds]
    chance = row.get("chance")
    if row["modality"] != VISION or not blind or not isinstance(chance, float):
        return
    if max(blind) > chance + MOST_ABOVE_CHANCE:
        yield say(
            "{model}: without the right figure it still answers {blind:.0f} % of the questions whose numbers stand only there "
            "(chance: {chance:.0f} %): the figures are not needed, or not read.",
            model=row["model"],
            blind=100 * max(blind),
            chance=100 * chance,
        )


def _label(cell: object) -> str:
    return cell if isinstance(cell, str) else str(cell)
