"""The sections for researchers: which tables and figures answer which question, in reading order."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.content import Section
from vlm_rl.reports.figures.arms_one_by_one import training_one_by_one, validation_one_by_one
from vlm_rl.reports.figures.behaviour_curves import length_figure, policy_figure, reflection_figure, words_figure
from vlm_rl.reports.figures.curves import accuracy_figure, dynamics_figure
from vlm_rl.reports.figures.pass_at_curves import pass_at_figure
from vlm_rl.reports.phrase import say
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.rejudge import Judging, Rejudge
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables.accuracy_tables import accuracy_table
from vlm_rl.reports.tables.aggregate_tables import aggregate_table
from vlm_rl.reports.tables.alert_tables import alert_table
from vlm_rl.reports.tables.behaviour_tables import (
    bottleneck_table,
    correlation_table,
    length_held_fixed_table,
    seed_sensitivity_table,
)
from vlm_rl.reports.tables.breakdown_tables import breakdown_table, verdict_table
from vlm_rl.reports.tables.cost_tables import cost_table
from vlm_rl.reports.tables.evaluation_behaviour import evaluation_behaviour, evaluation_behaviour_table
from vlm_rl.reports.tables.fairness_table import fairness_table
from vlm_rl.reports.tables.gain_tables import gain_split_table, gain_table
from vlm_rl.reports.tables.judged_again import changed_verdicts_table, judged_again_table
from vlm_rl.reports.tables.kpi_tables import kpi_table
from vlm_rl.reports.tables.pass_at_tables import pass_at_table
from vlm_rl.reports.tables.run_tables import run_table
from vlm_rl.reports.tables.start_and_end import length_table, policy_table, reflection_table, word_table
from vlm_rl.reports.tables.table import Table
from vlm_rl.reports.tables.table_3 import table3_table
from vlm_rl.reports.verdicts.arm_verdict import ArmVerdict
from vlm_rl.reports.verdicts.decision_tables import decision_table, power_table
from vlm_rl.reports.verdicts.pair_table import pair_table


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
    """The sections that hold something."""
    makers = (_accuracy, _statistics, _behaviour, _key_figures, _cost, _runs)
    sections = [make(sources).without_empty() for make in makers]
    return tuple(section for section in sections if section.figures or section.tables)


def _accuracy(sources: Sources) -> Section:
    records, endpoint = sources.records, sources.endpoint
    return Section(
        name="accuracy",
        title=say("Accuracy"),
        intro=say("Levels, not verdicts: every split and setting, by arm and by kind of problem."),
        figures=(
            accuracy_figure(records),
            training_one_by_one(records),
            validation_one_by_one(records, endpoint=endpoint),
            pass_at_figure(records, endpoint=endpoint),
        ),
        tables=(
            accuracy_table(records, endpoint=endpoint),
            table3_table(records),
            pass_at_table(records, endpoint=endpoint),
            breakdown_table(records, endpoint=endpoint, fields=sources.settings.breakdown),
            verdict_table(records, setting=endpoint.setting),
            judged_again_table(records),
            changed_verdicts_table(records),
            sources.controls,
        ),
    )


def _statistics(sources: Sources) -> Section:
    return Section(
        name="statistics",
        title=say("Statistics"),
        intro=say("What the verdicts rest on. How they are made stands in docs/statistics.md."),
        tables=(
            decision_table(sources.verdicts),
            pair_table(sources.records, verdicts=sources.verdicts),
            power_table(sources.verdicts),
            gain_table(sources.records),
            gain_split_table(sources.records, endpoint=sources.endpoint),
            aggregate_table(sources.records, endpoint=sources.endpoint),
        ),
    )


def _behaviour(sources: Sources) -> Section:
    records, endpoint = sources.records, sources.endpoint
    measured = evaluation_behaviour(records, endpoint=endpoint, judge=sources.judge)
    return Section(
        name="behaviour",
        title=say("Behaviour"),
        intro=say("What training changed in how the model answers."),
        figures=(
            dynamics_figure(records),
            reflection_figure(records),
            length_figure(records),
            words_figure(records),
            policy_figure(records),
        ),
        tables=(
            evaluation_behaviour_table(measured, endpoint=endpoint),
            length_table(records),
            seed_sensitivity_table(records),
            reflection_table(records),
            word_table(records),
            correlation_table(records),
            length_held_fixed_table(records),
            bottleneck_table(records, gain=sources.settings.bottleneck_gain),
            policy_table(records),
        ),
    )


def _key_figures(sources: Sources) -> Section:
    settings = sources.settings
    rejudge = None if sources.judge is None else Rejudge(sources.judge)
    return Section(
        name="key_figures",
        title=say("Key figures"),
        intro=say("What a team decides by, as it defined it (docs/kpi.md)."),
        tables=(
            kpi_table(
                sources.records, kpis=settings.kpis, endpoint=sources.endpoint, rule=settings.reflection, rejudge=rejudge
            ),
        ),
    )


def _cost(sources: Sources) -> Section:
    settings = sources.settings
    costs = cost_table(
        sources.records,
        endpoint=sources.endpoint,
        price_per_device_hour=settings.price_per_device_hour,
        currency=settings.currency,
    )
    return Section(
        name="cost",
        title=say("Cost and fairness"),
        intro=say("What each arm took, and whether all had the same chance."),
        tables=(costs, fairness_table(sources.records)),
    )


def _runs(sources: Sources) -> Section:
    return Section(
        name="runs",
        title=say("Alerts and runs"),
        intro=say("What the runs warned of while training, and which runs there are."),
        tables=(alert_table(sources.records), run_table(sources.records)),
    )
