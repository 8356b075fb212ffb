"""All that a report says, from records, in reading order; how it looks is left to html.py, and where it lies to report.py."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vlm_rl.reports.figures.panels import Figure
from vlm_rl.reports.first_page.decision_page import DecisionPage
from vlm_rl.reports.page.reader import Reader
from vlm_rl.reports.tables.table import Table, flatten


@dataclass(frozen=True, kw_only=True)
class Section:
    """Figures and tables that answer one question."""

    name: str  # its anchor on the page
    title: str
    intro: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Content:
    """The parts of a report: one page for those who decide, then everything behind it."""

    title: str
    command: str  # makes this report again
    decision: DecisionPage
    sections: tuple[Section, ...]
    reader: Reader
    problems: tuple[str, ...]

    @property
    def tables(self) -> Sequence[Table]:
        """Every table of the report."""
        return [table for section in self.sections for table in section.tables]

    @property
    def figures(self) -> Sequence[Figure]:
        """Every figure of the report but the forest of the first page."""
        return [figure for section in self.sections for figure in section.figures]

    def as_json(self) -> dict[str, Any]:
        """All the numbers, in English; shares in [0, 1], missing ones null."""
        return {
            "format": 2,
            "units": "accuracies, ratios and gains are shares in [0, 1]; intervals are two-sided, 95 %",
            "command": self.command,
            "decision": self.decision.as_json(),
            "problems": self.problems,
            "tables": {table.name: [flatten(row) for row in table.rows] for table in self.tables},
            "figures": {figure.name: [panel.as_json() for panel in figure.panels] for figure in self.figures},
            "completions": [asdict(case) for case in self.reader.cases],
        }
