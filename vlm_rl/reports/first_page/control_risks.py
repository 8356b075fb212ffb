"""What the blind controls say to people who decide: missing, or the figure was not needed."""

from collections.abc import Iterator

from vlm_rl.evaluation.statistics import Interval
from vlm_rl.reports.phrase import Phrase, listed, say_named
from vlm_rl.reports.tables.table import Table

VISION = "vision"  # rows whose numbers are only in the figure
MOST_ABOVE_CHANCE = 0.1  # share: blind accuracy further above chance means that the figure is not needed


def control_risks(controls: Table, *, split: str) -> Iterator[Phrase]:
    """For each model of the table of blind controls."""
    rows = [row for row in controls.rows if row["split"] == split]
    without = list(dict.fromkeys(row["model"] for row in rows if row.get("to_do")))
    if without:
        yield say_named(
            "risks.no_controls", models=listed(model if isinstance(model, str) else str(model) for model in without)
        )
    for row in rows:
        levels = [row.get(key) for key in ("blank", "shuffled")]
        blind = [level.estimate for level in levels if isinstance(level, Interval) and level.num_seeds]
        chance = row.get("chance")
        if row["modality"] != VISION or not blind or not isinstance(chance, float):
            continue
        if max(blind) > chance + MOST_ABOVE_CHANCE:
            yield say_named("risks.figures_not_needed", model=row["model"], blind=100 * max(blind), chance=100 * chance)
