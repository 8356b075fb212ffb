"""From records to the content of a report: the endpoint, the verdicts on it, the first page, the sections and the reader."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.figures import accuracy_curves, curves, score_profiles
from vlm_rl.reports.figures.front import few_in_front, places_behind
from vlm_rl.reports.figures.panels import Figure
from vlm_rl.reports.first_page.arms_in_words import MOST_NAMED
from vlm_rl.reports.first_page.decision import DecisionPage, by_effect, decision_page
from vlm_rl.reports.page.reader import Reader, reader_of
from vlm_rl.reports.phrase import say_named
from vlm_rl.reports.reading.arms import Records, with_setting
from vlm_rl.reports.reading.at_work import RunState
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables import (
    accuracy_tables,
    behaviour_tables,
    control_tables,
    cost_tables,
    gain_tables,
    kpi_tables,
    run_tables,
    table_3,
)
from vlm_rl.reports.tables.config_tables import config_table
from vlm_rl.reports.tables.evaluation_behaviour import evaluation_behaviour_table
from vlm_rl.reports.tables.table import Table, flatten
from vlm_rl.reports.verdicts import decision_tables
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint
from vlm_rl.reports.verdicts.family import Judged, verdicts_of
from vlm_rl.reports.verdicts.looks import NO_LOOKS, Looks


@dataclass(frozen=True, kw_only=True)
class Section:
    """Figures and tables that answer one question."""

    name: str  # its anchor on the page
    title: str
    intro: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True, kw_only=True)
class Content:
    """The parts of a report: one page for those who decide, then everything behind it."""

    title: str
    command: str  # makes this report again
    decision: DecisionPage
    sections: tuple[Section, ...]
    reader: Reader
    problems: tuple[str, ...]
    verdicts: tuple[Judged, ...]
    states: tuple[RunState, ...] = ()

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


def content_of(records: Records, *, settings: ReportSettings, looks: Looks = NO_LOOKS) -> Content:
    """Everything the records say; `looks`: how often the studies were judged before."""
    records, override = overridden(records, settings=settings)
    choice = choose_endpoint(records, override=override)
    endpoint = choice.endpoint
    judged = verdicts_of(
        records,
        choice=choice,
        reference=settings.reference,
        smallest_effect=settings.smallest_effect,
        accept=settings.accept,
        looks=looks,
    )
    verdicts = by_effect(judged)
    records = in_order_of(verdicts, records=records)
    controls = control_tables.control_table(records, endpoint=endpoint)
    tables = _tables(records, endpoint=endpoint, verdicts=verdicts, settings=settings)
    tables["accuracy"].append(controls)
    return Content(
        title=", ".join(dict.fromkeys(run.run.study for arm in records.arms for run in arm.runs)),
        command=settings.command,
        decision=decision_page(records, verdicts=verdicts, choice=choice, controls=controls, settings=settings),
        sections=tuple(_sections(_figures(records, endpoint=endpoint, verdicts=verdicts), tables=tables)),
        reader=reader_of(records, endpoint=endpoint, size=settings.reader),
        problems=(*records.problems, *run_tables.judged_again_problems(records)),
        verdicts=verdicts,
        states=records.states,
    )


def in_order_of(verdicts: Sequence[Judged], *, records: Records) -> Records:
    """The records with many arms in the order of their verdicts, the reference before them, all else behind; few stay as they are."""
    if len(verdicts) <= MOST_NAMED:
        return records
    order = {one.comparison.reference_name: -1 for one in verdicts} | {one.arm: place for place, one in enumerate(verdicts)}
    return replace(records, arms=tuple(sorted(records.arms, key=lambda arm: order.get(arm.label, len(order)))))


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
    for key, value, present in (("setting", setting, records.settings()), ("split", split, records.splits())):
        if present and value not in present:
            raise ReportError(
                f"report.{key}={value}, but the runs were evaluated under {', '.join(present)}. Pass one of these."
            )
    return records, Endpoint(split=split, setting=setting, picked_by=declared.picked_by)


def _sections(figures: Mapping[str, Sequence[Figure]], *, tables: Mapping[str, Sequence[Table]]) -> Iterator[Section]:
    """The sections that hold something, in the order of their tables."""
    for name in tables:
        section = Section(
            name=name,
            title=say_named(f"sections.{name}.title"),
            intro=say_named(f"sections.{name}.intro"),
            figures=tuple(figure for figure in figures.get(name, ()) if figure.panels),
            tables=tuple(table for table in tables[name] if table.rows),
        )
        if section.figures or section.tables:
            yield section


def _figures(records: Records, *, endpoint: Endpoint, verdicts: Sequence[Judged]) -> Mapping[str, Sequence[Figure]]:
    """Which figures answer which question, in reading order."""
    behind = places_behind(records.trained, verdicts=verdicts)
    figures = {
        "accuracy": [
            accuracy_curves.accuracy_figure(records),
            accuracy_curves.training_one_by_one(records),
            accuracy_curves.validation_one_by_one(records, endpoint=endpoint),
            accuracy_curves.pass_at_figure(records, endpoint=endpoint),
        ],
        "statistics": [
            score_profiles.profile_figure(verdicts, arms=records.trained, endpoint=endpoint),
            score_profiles.improvement_figure(verdicts, arms=records.trained, endpoint=endpoint),
        ],
        "behaviour": [
            curves.dynamics_figure(records),
            curves.reflection_figure(records),
            curves.step_figure(records, "response_length"),
            curves.words_figure(records),
            curves.policy_figure(records),
        ],
    }
    return {name: [few_in_front(figure, behind=behind) for figure in found] for name, found in figures.items()}


def _tables(
    records: Records, *, endpoint: Endpoint, verdicts: Sequence[Judged], settings: ReportSettings
) -> dict[str, list[Table]]:
    """Which tables answer which question, in reading order."""
    kpis, correlations = kpi_tables.kpi_tables(records, kpis=settings.kpis, endpoint=endpoint, rule=settings.reflection)
    price, currency = settings.price_per_device_hour, settings.currency
    costs = cost_tables.cost_table(records, endpoint=endpoint, price_per_device_hour=price, currency=currency)
    parts = {
        name: behaviour_tables.start_and_end_table(records, name=name) for name in ("response_length", "reflection", "policy")
    }
    return {
        "progress": [run_tables.state_table(records.states)],
        "accuracy": [
            accuracy_tables.accuracy_table(records, endpoint=endpoint),
            table_3.table3_table(records),
            accuracy_tables.pass_at_table(records, endpoint=endpoint),
            accuracy_tables.breakdown_table(records, endpoint=endpoint, fields=settings.breakdown),
            accuracy_tables.verdict_table(records, endpoint=endpoint),
            run_tables.judged_again_table(records),
            run_tables.changed_verdicts_table(records),
        ],
        "statistics": [
            decision_tables.decision_table(verdicts),
            decision_tables.pair_table(records, verdicts=verdicts),
            decision_tables.power_table(verdicts),
            gain_tables.gain_table(records, endpoint=endpoint),
            gain_tables.gain_split_table(records, endpoint=endpoint),
        ],
        "behaviour": [
            evaluation_behaviour_table(records, endpoint=endpoint),
            *(parts["response_length"], parts["reflection"], behaviour_tables.word_table(records), parts["policy"]),
        ],
        "key_figures": [kpis],
        "cost": [costs, cost_tables.fairness_table(records)],
        "runs": [config_table(records), run_tables.alert_table(records), run_tables.run_table(records)],
        "appendix": [*_appendix(records, endpoint=endpoint, bottleneck_gain=settings.bottleneck_gain), correlations],
    }


def _appendix(records: Records, *, endpoint: Endpoint, bottleneck_gain: float) -> list[Table]:
    return [
        behaviour_tables.seed_sensitivity_table(records),
        behaviour_tables.length_held_fixed_table(records),
        gain_tables.aggregate_table(records, endpoint=endpoint),
        behaviour_tables.bottleneck_table(records, gain=bottleneck_gain),
        behaviour_tables.correlation_table(records),
    ]
