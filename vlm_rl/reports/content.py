"""All that a report says, from records; how it looks is left to html.py, and where it lies to report.py."""

from dataclasses import asdict, dataclass
from typing import Any

from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.accuracy_tables import accuracy_table, breakdown_table, verdict_table
from vlm_rl.reports.arms import Records
from vlm_rl.reports.completions import Completion, sample_completions
from vlm_rl.reports.curves import accuracy_figure, dynamics_figure
from vlm_rl.reports.gain_tables import gain_split_table, gain_table
from vlm_rl.reports.panels import Figure
from vlm_rl.reports.run_tables import cost_table, run_table
from vlm_rl.reports.summary import summarise
from vlm_rl.reports.table import Table, flatten


@dataclass(frozen=True, kw_only=True)
class Content:
    """The parts of a report in reading order; parts without anything in them are left out."""

    title: str
    command: str  # makes this report again
    setting: str  # the primary one, as a person reads it
    summary: tuple[str, ...]
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    completions: tuple[Completion, ...]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """All the numbers; shares in [0, 1], missing ones null."""
        return {
            "format": 1,
            "units": "accuracies, ratios and gains are shares in [0, 1]; intervals are two-sided, 95 %",
            "command": self.command,
            "primary_setting": self.setting,
            "summary": self.summary,
            "problems": self.problems,
            "tables": {table.name: [flatten(row) for row in table.rows] for table in self.tables},
            "figures": {figure.name: [panel.as_json() for panel in figure.panels] for figure in self.figures},
            "completions": [asdict(completion) for completion in self.completions],
        }


def content_of(records: Records, *, setting: str, command: str) -> Content:
    """Everything the records say, with `setting` (as pass@1_t0.6) wherever one setting has to stand for all."""
    tables = (
        gain_table(records),
        accuracy_table(records),
        breakdown_table(records, setting=setting),
        gain_split_table(records, setting=setting),
        verdict_table(records, setting=setting),
        cost_table(records),
        run_table(records),
    )
    figures = (dynamics_figure(records), accuracy_figure(records))
    studies = dict.fromkeys(records_of_run.run.study for arm in records.arms for records_of_run in arm.runs)
    return Content(
        title=", ".join(studies),
        command=command,
        setting=title_of(setting),
        summary=tuple(summarise(records, setting=setting)),
        figures=tuple(figure for figure in figures if figure.panels),
        tables=tuple(table for table in tables if table.rows),
        completions=tuple(sample_completions(records, setting=setting)),
        problems=records.problems,
    )
