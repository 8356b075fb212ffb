"""From records to the content of a report: the endpoint, the verdicts on it, the first page, the sections and the reader."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.figures.arms_one_by_one import training_one_by_one, validation_one_by_one
from vlm_rl.reports.figures.behaviour_curves import (
    length_figure,
    pass_at_figure,
    policy_figure,
    reflection_figure,
    words_figure,
)
from vlm_rl.reports.figures.curves import accuracy_figure, dynamics_figure
from vlm_rl.reports.figures.panels import Figure
from vlm_rl.reports.first_page.decision import decision_page
from vlm_rl.reports.first_page.decision_page import DecisionPage
from vlm_rl.reports.page.reader import Reader, reader_of
from vlm_rl.reports.phrase import say_named
from vlm_rl.reports.reading.arms import Records, with_setting
from vlm_rl.reports.reading.rejudge import Judging, Rejudge
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables.accuracy_tables import accuracy_table, breakdown_table, pass_at_table, verdict_table
from vlm_rl.reports.tables.behaviour_tables import (
    bottleneck_table,
    correlation_table,
    length_held_fixed_table,
    length_table,
    policy_table,
    reflection_table,
    seed_sensitivity_table,
    word_table,
)
from vlm_rl.reports.tables.control_tables import control_table
from vlm_rl.reports.tables.cost_tables import cost_table, fairness_table
from vlm_rl.reports.tables.evaluation_behaviour import evaluation_behaviour, evaluation_behaviour_table
from vlm_rl.reports.tables.gain_tables import aggregate_table, gain_split_table, gain_table
from vlm_rl.reports.tables.kpi_tables import kpi_table
from vlm_rl.reports.tables.run_tables import (
    alert_table,
    changed_verdicts_table,
    judged_again_problems,
    judged_again_table,
    run_table,
)
from vlm_rl.reports.tables.table import Table, flatten
from vlm_rl.reports.tables.table_3 import table3_table
from vlm_rl.reports.verdicts.decision_tables import decision_table, pair_table, power_table
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint
from vlm_rl.reports.verdicts.family import ArmVerdict, verdicts_of


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
            "completions": self.reader.cases,
        }


def content_of(records: Records, *, settings: ReportSettings, judge: Judging | None = None) -> Content:
    """Everything the records say; `judge` is the one that judged them again, if they were."""
    records, override = overridden(records, settings=settings)
    choice = choose_endpoint(records, override=override)
    endpoint = choice.endpoint
    verdicts = verdicts_of(records, endpoint=override, reference=settings.reference, smallest_effect=settings.smallest_effect)
    controls = control_table(records, endpoint=endpoint, rejudge=None if judge is None else Rejudge(judge))
    sources = Sources(records=records, endpoint=endpoint, verdicts=verdicts, controls=controls, settings=settings, judge=judge)
    studies = dict.fromkeys(run.run.study for arm in records.arms for run in arm.runs)
    return Content(
        title=", ".join(studies),
        command=settings.command,
        decision=decision_page(records, verdicts=verdicts, choice=choice, controls=controls, settings=settings),
        sections=sections_of(sources),
        reader=reader_of(records, endpoint=endpoint, size=settings.reader, judge=judge),
        problems=(*records.problems, *judged_again_problems(records)),
    )


def overridden(records: Records, *, settings: ReportSettings) -> tuple[Records, Endpoint | None]:
    """The records with the setting that the report was asked to judge by, and that endpoint; None: as the runs declared."""
    if settings.split is None and settings.setting is None:
        return records, None
    declared = choose_endpoint(records).endpoint
    split, setting = settings.split or declared.split, settings.setting or declared.setting
    if split == declared.picked_by:
        raise ReportError(
            f"report.split={split} also picks the epochs, and a maximum over epochs is not judged. Pass another split."
        )
    title_of(setting)  # refuses what is not the name of a setting
    records = with_setting(records, setting=setting)
    for key, asked, present in (("setting", setting, records.settings()), ("split", split, records.splits())):
        if present and asked not in present:
            raise ReportError(
                f"report.{key}={asked}, but the runs were evaluated under {', '.join(present)}. Pass one of these."
            )
    return records, Endpoint(split=split, setting=setting, picked_by=declared.picked_by)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What every section is made from."""

    records: Records
    endpoint: Endpoint
    verdicts: Sequence[ArmVerdict]
    controls: Table
    settings: ReportSettings
    judge: Judging | None  # that judged the records again


def sections_of(sources: Sources) -> tuple[Section, ...]:
    """Which tables and figures answer which question, in reading order: the sections that hold something."""
    sections = (make(sources) for make in (_accuracy, _statistics, _behaviour, _key_figures, _cost, _runs))
    return tuple(section for section in sections if section.figures or section.tables)


def _section(name: str, *, figures: Sequence[Figure] = (), tables: Sequence[Table] = ()) -> Section:
    """Only what holds something."""
    return Section(
        name=name,
        title=say_named(f"sections.{name}.title"),
        intro=say_named(f"sections.{name}.intro"),
        figures=tuple(figure for figure in figures if figure.panels),
        tables=tuple(table for table in tables if table.rows),
    )


def _accuracy(sources: Sources) -> Section:
    records, endpoint = sources.records, sources.endpoint
    figures = (
        accuracy_figure(records),
        training_one_by_one(records),
        validation_one_by_one(records, endpoint=endpoint),
        pass_at_figure(records, endpoint=endpoint),
    )
    tables = (
        accuracy_table(records, endpoint=endpoint),
        table3_table(records),
        pass_at_table(records, endpoint=endpoint),
        breakdown_table(records, endpoint=endpoint, fields=sources.settings.breakdown),
        verdict_table(records, setting=endpoint.setting),
        judged_again_table(records),
        changed_verdicts_table(records),
        sources.controls,
    )
    return _section("accuracy", figures=figures, tables=tables)


def _statistics(sources: Sources) -> Section:
    records, endpoint, verdicts = sources.records, sources.endpoint, sources.verdicts
    tables = (
        decision_table(verdicts),
        pair_table(records, verdicts=verdicts),
        power_table(verdicts),
        gain_table(records),
        gain_split_table(records, endpoint=endpoint),
        aggregate_table(records, endpoint=endpoint),
    )
    return _section("statistics", tables=tables)


def _behaviour(sources: Sources) -> Section:
    records, endpoint = sources.records, sources.endpoint
    measured = evaluation_behaviour(records, endpoint=endpoint, judge=sources.judge)
    figures = [make(records) for make in (dynamics_figure, reflection_figure, length_figure, words_figure, policy_figure)]
    tables = (
        evaluation_behaviour_table(measured, endpoint=endpoint),
        length_table(records),
        seed_sensitivity_table(records),
        reflection_table(records),
        word_table(records),
        correlation_table(records),
        length_held_fixed_table(records),
        bottleneck_table(records, gain=sources.settings.bottleneck_gain),
        policy_table(records),
    )
    return _section("behaviour", figures=figures, tables=tables)


def _key_figures(sources: Sources) -> Section:
    settings = sources.settings
    rejudge = None if sources.judge is None else Rejudge(sources.judge)
    table = kpi_table(sources.records, kpis=settings.kpis, endpoint=sources.endpoint, rule=settings.reflection, rejudge=rejudge)
    return _section("key_figures", tables=[table])


def _cost(sources: Sources) -> Section:
    records, settings = sources.records, sources.settings
    price, currency = settings.price_per_device_hour, settings.currency
    costs = cost_table(records, endpoint=sources.endpoint, price_per_device_hour=price, currency=currency)
    return _section("cost", tables=(costs, fairness_table(records)))


def _runs(sources: Sources) -> Section:
    return _section("runs", tables=(alert_table(sources.records), run_table(sources.records)))
