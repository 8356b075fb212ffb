"""Fills the page for people who decide: from verdicts, records and measured cost to what is said and pictured there."""

import math
from collections.abc import Iterator, Sequence

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.reports.first_page.decision_page import Card, DecisionPage, headline_of
from vlm_rl.reports.first_page.forest import Forest, ForestRow
from vlm_rl.reports.first_page.next_stage import RunCost, cost_sentences, next_stage, run_cost
from vlm_rl.reports.first_page.risks import control_risks, fewer_solved, training_risks
from vlm_rl.reports.phrase import Phrase, listed, paragraph, say, say_named
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.results import picked_epoch
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables.table import Table
from vlm_rl.reports.verdicts.endpoint_scores import EndpointChoice
from vlm_rl.reports.verdicts.family import ArmVerdict
from vlm_rl.reports.verdicts.verdict_sentences import short_verdict


def decision_page(
    records: Records, *, verdicts: Sequence[ArmVerdict], choice: EndpointChoice, controls: Table, settings: ReportSettings
) -> DecisionPage:
    """Everything on the first page."""
    notes = common_notes(verdicts, choice=choice)
    cards = tuple(card_of(verdict, said_once=notes) for verdict in verdicts)
    costs = {arm.label: run_cost(arm, settings=settings) for arm in records.trained}
    return DecisionPage(
        headline=headline_of(cards),
        question=paragraph(*notes),
        scope=scope_of(records, verdicts=verdicts),
        cards=cards,
        forest=forest_of(verdicts, records=records, settings=settings),
        cost=tuple(cost_sentences(records, verdicts=verdicts, costs=costs, endpoint=choice.endpoint)),
        risks=tuple(_risks(records, choice=choice, controls=controls, verdicts=verdicts)),
        next_stage=tuple(_next_stage(verdicts, choice=choice, costs=costs)),
    )


def scope_of(records: Records, *, verdicts: Sequence[ArmVerdict]) -> Phrase:
    """A paragraph to read with the headline; empty where nothing was trained."""
    if not records.trained:
        return paragraph()
    models, data = _names(records, group="model"), _names(records, group="dataset")
    return paragraph(
        say("Model: {model}; data: {data}.", model=listed(models), data=listed(data)) if models and data else "",
        say("All of this speaks of new seeds and of questions like these; not of other models, data or longer training."),
        say_named("scope.pairs") if records.has_many_arms else _not_compared(verdicts),
    )


def _names(records: Records, *, group: str) -> list[str]:
    """What the runs' configs call it, each once."""
    configs = (run.run.config.get(group) or {} for arm in records.trained for run in arm.used)
    return list(dict.fromkeys(str(config["name"]) for config in configs if config.get("name")))


def _not_compared(verdicts: Sequence[ArmVerdict]) -> str:
    """Two gains over one reference invite a ranking that no test stands behind."""
    compared = [verdict for verdict in verdicts if verdict.difference is not None]
    if len(compared) < 2:
        return ""
    return say_named("scope.not_compared", arm=compared[0].arm)


def common_notes(verdicts: Sequence[ArmVerdict], *, choice: EndpointChoice) -> tuple[Phrase, ...]:
    """What stands once on the page, above all cards: what is judged, and since when the reference is fixed."""
    reference_notes = {verdict.reference_note for verdict in verdicts}
    return (choice.note, *(note for note in reference_notes if note is not None and len(reference_notes) == 1))


def card_of(verdict: ArmVerdict, *, said_once: Sequence[Phrase]) -> Card:
    """A verdict in large type, and below it what it rests on."""
    return Card(
        arm=verdict.arm,
        outcome=verdict.outcome,
        effect=verdict.effect,
        short=short_verdict(verdict),
        said=verdict.headline,
        more=tuple(sentence for sentence in verdict.sentences if sentence not in said_once),
    )


def forest_of(verdicts: Sequence[ArmVerdict], *, records: Records, settings: ReportSettings) -> Forest | None:
    """Each compared arm; colours as in every other figure."""
    colors = {arm.label: place for place, arm in enumerate(records.trained)}
    compared = [verdict for verdict in verdicts if verdict.difference is not None]
    if not compared:
        return None
    delta, reference = settings.smallest_effect, compared[0].comparison.reference
    title = say("Effect on accuracy, in points")
    if reference is not None:
        title = say("Effect on accuracy against {reference}, in points", reference=reference.label)
    return Forest(
        title=title,
        caption=say_named("figures.forest", delta=100 * delta),
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
        yield say_named("risks.many_problems", count=len(records.problems))


def _next_stage(verdicts: Sequence[ArmVerdict], *, choice: EndpointChoice, costs: dict[str, RunCost]) -> Iterator[Phrase]:
    for verdict in verdicts:
        open_questions = tuple(_open_questions(verdict, endpoint=choice.endpoint))
        yield next_stage(verdict, cost=costs[verdict.arm], open_questions=open_questions)
    if not verdicts:
        yield say("Train an arm with at least three seeds beside its untrained model: nothing can be judged yet.")


def _open_questions(verdict: ArmVerdict, *, endpoint: Endpoint) -> Iterator[Phrase]:
    """What an improvement leaves open, to look at before more is spent."""
    if fewer_solved(verdict.comparison.arm, endpoint=endpoint) is not None:
        yield say("Before that: look at what several tries no longer solve (risks).")
    used = [run for run in verdict.comparison.arm.used if run.run.seed in verdict.seeds]
    epochs = [run.epochs(split=endpoint.picked_by, setting=endpoint.setting) for run in used]
    late = sum(
        picked_epoch(run, endpoint=endpoint) == max(tried) for run, tried in zip(used, epochs, strict=True) if len(tried) > 1
    )
    if 2 * late > len(used):
        yield say_named("next_stage.peaked_late", split=endpoint.picked_by, late=late, seeds=len(used))
