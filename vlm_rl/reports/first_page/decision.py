"""Fills the page for people who decide: from verdicts, records and measured cost to what is said and pictured there."""

import math
from collections.abc import Iterator, Sequence

from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.first_page.control_risks import control_risks
from vlm_rl.reports.first_page.decision_page import Card, DecisionPage, headline_of
from vlm_rl.reports.first_page.forest import Forest, ForestRow
from vlm_rl.reports.first_page.next_stage import RunCost, amount, next_stage
from vlm_rl.reports.first_page.risks import training_risks
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables.cost_tables import device_hours
from vlm_rl.reports.tables.table import Table
from vlm_rl.reports.verdicts.arm_verdict import ArmVerdict
from vlm_rl.reports.verdicts.endpoint_scores import EndpointChoice
from vlm_rl.reports.verdicts.verdict_sentences import reference_of


def decision_page(
    records: Records, *, verdicts: Sequence[ArmVerdict], choice: EndpointChoice, controls: Table, settings: ReportSettings
) -> DecisionPage:
    """Everything on the first page."""
    cards = tuple(card_of(verdict) for verdict in verdicts)
    costs = {arm.label: run_cost(arm, settings=settings) for arm in records.trained}
    return DecisionPage(
        headline=headline_of(cards, smallest_effect=settings.smallest_effect),
        question=choice.note,
        cards=cards,
        forest=forest_of(verdicts, records=records, settings=settings),
        cost=tuple(_cost(records, verdicts=verdicts, costs=costs)),
        risks=tuple(_risks(records, choice=choice, controls=controls, verdicts=verdicts)),
        next_stage=tuple(_next_stage(verdicts, costs=costs)),
    )


def card_of(verdict: ArmVerdict) -> Card:
    """A verdict in large type, and below it what it rests on. What is judged stands once on the page, above all cards."""
    said = [sentence for sentence in verdict.sentences if sentence != verdict.comparison.choice.note]
    return Card(arm=verdict.arm, outcome=verdict.outcome, effect=verdict.effect, said=verdict.headline, more=tuple(said))


def forest_of(verdicts: Sequence[ArmVerdict], *, records: Records, settings: ReportSettings) -> Forest | None:
    """Each compared arm; colours as in every other figure."""
    colors = {arm.label: place for place, arm in enumerate(records.trained)}
    compared = [verdict for verdict in verdicts if verdict.difference is not None]
    if not compared:
        return None
    delta = settings.smallest_effect
    return Forest(
        title=say("Effect on accuracy, in points"),
        caption=say(
            "Dot: mean effect; bar: 95 % interval for new seeds and new questions (none where the seeds do not allow one); "
            "small circles: every seed; grey band: ±{delta:g} points, too small to matter; dashed: no effect.",
            delta=100 * delta,
        ),
        delta=delta,
        rows=tuple(_forest_row(verdict, color=colors[verdict.arm]) for verdict in compared),
    )


def _forest_row(verdict: ArmVerdict, *, color: int) -> ForestRow:
    interval = verdict.new_questions
    known = math.isfinite(interval.low)
    span = say("{low:+.1f} to {high:+.1f}", low=100 * interval.low, high=100 * interval.high) if known else say("no interval")
    return ForestRow(
        label=verdict.arm,
        color=color,
        estimate=verdict.effect,
        low=interval.low,
        high=interval.high,
        seeds=_seed_effects(verdict),
        text=say("{gain:+.1f} points", gain=100 * verdict.effect),
        detail=say("{span}; n = {seeds}", span=span, seeds=len(verdict.seeds)),
    )


def _seed_effects(verdict: ArmVerdict) -> tuple[float, ...]:
    """Each seed against its own untrained model, or against the mean of the reference."""
    scores, others = verdict.comparison.scores, verdict.comparison.reference_scores
    level = {seed: evaluation.accuracy() for seed, evaluation in others.evaluations.items()}
    mean = math.fsum(level.values()) / len(level)
    paired = verdict.comparison.reference is None
    return tuple(evaluation.accuracy() - (level[seed] if paired else mean) for seed, evaluation in scores.evaluations.items())


def run_cost(arm: Arm, *, settings: ReportSettings) -> RunCost:
    """The mean over the runs that were measured."""
    hours = [value for run in arm.used if not math.isnan(value := device_hours(run))]
    return RunCost(
        device_hours=math.fsum(hours) / len(hours) if hours else math.nan,
        price=settings.price_per_device_hour,
        currency=settings.currency,
    )


def _cost(records: Records, *, verdicts: Sequence[ArmVerdict], costs: dict[str, RunCost]) -> Iterator[Phrase]:
    effects = {verdict.arm: verdict for verdict in verdicts}
    for arm in records.trained:
        cost = costs[arm.label]
        if not cost.is_known:
            yield say("{arm}: the time of its runs, or the number of their devices, is not known.", arm=arm.label)
            continue
        yield say(
            "{arm}: {one} a run, {all} for all {runs} runs.",
            arm=arm.label,
            one=cost.of_runs(1),
            all=cost.of_runs(len(arm.used)),
            runs=len(arm.used),
        )
        verdict = effects.get(arm.label)
        if verdict is not None and verdict.outcome is Outcome.IMPROVEMENT:
            yield say(
                "{arm}: {points} points gained for each device hour of a run, over {reference}.",
                arm=arm.label,
                points=amount(100 * verdict.effect / cost.device_hours),
                reference=reference_of(verdict),
            )
    if not records.trained:
        yield say("Nothing was trained here.")


def _risks(records: Records, *, choice: EndpointChoice, controls: Table, verdicts: Sequence[ArmVerdict]) -> Iterator[Phrase]:
    if not choice.is_declared:
        yield say("The endpoint was not fixed before the runs, so that a lucky one may have been chosen.")
    if any(verdict.has_late_reference for verdict in verdicts):
        yield say("The reference was chosen after the runs, so that one that flatters may have been chosen.")
    for verdict in verdicts:
        yield from (say("{arm}: {flag}", arm=verdict.arm, flag=flag) for flag in verdict.flags)
    yield from training_risks(records, endpoint=choice.endpoint)
    yield from control_risks(controls, split=choice.endpoint.split)
    if len(records.problems) == 1:
        yield say("One thing was missing or odd; it stands under “What was missing or odd”.")
    elif records.problems:
        yield say(
            "{count} things were missing or odd; they are listed under “What was missing or odd”.", count=len(records.problems)
        )
    if records.trained:
        yield say("All of this speaks of new seeds and of questions like these; not of other models, data or longer training.")


def _next_stage(verdicts: Sequence[ArmVerdict], *, costs: dict[str, RunCost]) -> Iterator[Phrase]:
    for verdict in verdicts:
        yield next_stage(
            verdict.arm,
            outcome=verdict.outcome,
            difference=verdict.difference,
            num_runs=len(verdict.seeds),
            smallest_effect=verdict.smallest_effect,
            level=verdict.planning_level,
            cost=costs[verdict.arm],
        )
    if not verdicts:
        yield say("Train an arm with at least three seeds beside its untrained model: nothing can be judged yet.")
