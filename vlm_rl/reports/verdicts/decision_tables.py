"""The verdicts as a table, and what other designs would have seen. Sentences are verdict_sentences.py's."""

import itertools
import math
from collections.abc import Sequence

from vlm_rl.evaluation.power import Range, detectable_effect, questions_needed, seeds_needed, variance_limits
from vlm_rl.evaluation.statistics import Difference
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, LEVEL, Outcome
from vlm_rl.reports.phrase import Phrase, paragraph, say, say_named
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.tables.table import Row, Table, table_of
from vlm_rl.reports.verdicts.comparisons import compare
from vlm_rl.reports.verdicts.family import NO_INTERVAL, Judged, judged_all
from vlm_rl.reports.verdicts.verdict_sentences import TIMES_AS_MANY, count_range, effect_range, sentence_of

PLANNED_SEEDS = (3, 5, 10, 20)
PLANS = ("seeds_for_delta", "seeds_as_measured")  # columns of the table of pairs
MOST_PLANNED_PAIRS = 45  # of ten arms: nobody plans seeds by hundreds of pairs, and each plan takes a tenth of a second


def decision_table(verdicts: Sequence[Judged]) -> Table:
    """Each arm of the family: effect, both intervals, p-values, and what may be said."""
    rows = [_decision_row(verdict) for verdict in verdicts]
    without = () if any(row["seeds"] == "1" for row in rows) else ("this_run_only",)
    first = verdicts[0] if verdicts else None
    notes = () if first is None else (*first.comparison.notes, first.effect_note)
    level = LEVEL if first is None else first.look_level
    return table_of("decisions", rows, without=without, chosen=paragraph(*notes), level=level)


def _decision_row(verdict: Judged) -> Row:
    comparison, difference = verdict.comparison, verdict.difference
    return {
        "arm": verdict.arm,
        "reference": comparison.reference_name,
        "verdict": sentence_of(verdict, "word"),
        "agreeing": verdict.agreeing,
        "confidence": math.nan if math.isnan(verdict.agreeing.low) else verdict.confidence,
        "gain": verdict.new_questions,
        "same_benchmark": verdict.same_benchmark,
        "this_run_only": difference.this_run_only() if difference and difference.num_seeds == 1 else NO_INTERVAL,
        "p_value": verdict.p_value,
        "adjusted_p": verdict.adjusted_p,
        "seeds": _seeds(difference) if difference else str(len(comparison.scores.evaluations)),
        "questions": comparison.num_questions,
        "images": difference.num_questions if difference else math.nan,
        "epochs": ", ".join(str(evaluation.epoch) for evaluation in comparison.scores.evaluations.values()),
        "left_out": str(len(comparison.dropped) or ""),
        "variance_seeds": difference.variance_seeds if difference else math.nan,
        "variance_questions": difference.variance_questions if difference else math.nan,
    }


def _seeds(difference: Difference) -> str:
    return " + ".join(map(str, difference.seeds))


def power_table(verdicts: Sequence[Judged]) -> Table:
    """For each arm with a measured spread: what this design and larger ones find at 80 % power."""
    planned = [(one, one.difference) for one in verdicts if one.difference is not None and not math.isnan(one.p_value)]
    rows = [
        _power_row(verdict, difference=difference, seeds=seeds)
        for verdict, difference in planned
        for seeds in (None, *(seeds for seeds in PLANNED_SEEDS if {seeds} != set(difference.seeds)))
    ]
    how_uncertain = ""  # how far the spread over seeds may lie from its estimate, for the arm whose seeds say least of it
    if planned:
        _, difference = min(planned, key=lambda pair: pair[1].df_seeds)
        low, high = map(math.sqrt, variance_limits(difference.df_seeds))
        how_uncertain = say_named("plan.how_uncertain", seeds=difference.num_seeds, low=low, high=high)
    return table_of(
        "power",
        rows,
        times=TIMES_AS_MANY,
        delta=_delta(verdicts),
        how_uncertain=how_uncertain,
    )


def _delta(verdicts: Sequence[Judged]) -> float:
    return 100 * verdicts[0].smallest_effect if verdicts else math.nan


def _power_row(verdict: Judged, *, difference: Difference, seeds: int | None) -> Row:
    """`seeds` None: as many as there are."""
    num_questions, level = difference.num_questions, verdict.planning_level
    runs = difference.num_seeds if seeds is None else seeds
    found, found_with_more = (
        detectable_effect(difference, seeds=seeds, questions=times * num_questions, level=level) for times in (1, TIMES_AS_MANY)
    )
    too_few = say("none: fewer than three seeds") if runs < FEWEST_SEEDS else None
    needed = questions_needed(difference, effect=verdict.smallest_effect, seeds=seeds, level=level)
    return {
        "arm": verdict.arm,
        "seeds": runs,
        "questions": num_questions,
        "found": too_few or effect_range(found),
        "found_with_more": too_few or effect_range(found_with_more),
        "questions_needed": _within_reach(needed, kind="questions"),
        "found_share": found.estimate,
        "found_share_low": found.low,
        "found_share_high": found.high,
    }


def _within_reach(needed: Range, *, kind: str) -> Phrase:
    return say("out of reach") if math.isinf(needed.low) else count_range(needed, kind=kind)


def pair_table(records: Records, *, verdicts: Sequence[Judged]) -> Table:
    """Every pair of trained arms, with Holm's correction over all of them; empty for fewer than three arms.

    `verdicts` brings the endpoint, delta and the doubts that were accepted.
    """
    pairs: list[Judged] = []
    if records.has_many_arms and verdicts:
        choice, both = verdicts[0].comparison.choice, itertools.combinations(records.trained, 2)
        comparisons = [compare(arm, reference=other, choice=choice) for arm, other in both]
        delta = verdicts[0].smallest_effect
        accept = {doubt.kind for verdict in verdicts for doubt in verdict.accepted}
        pairs = list(judged_all(comparisons, smallest_effect=delta, accept=accept))
    is_planned = len(pairs) <= MOST_PLANNED_PAIRS
    return table_of(
        "pairs",
        (_pair_row(pair, is_planned=is_planned) for pair in pairs),
        without=() if is_planned else PLANS,
        pairs=len(pairs),
        delta=_delta(verdicts),
        level=verdicts[0].look_level if verdicts else LEVEL,
        seeds=say_named("plan.pairs") if is_planned else "",
    )


def _pair_row(pair: Judged, *, is_planned: bool) -> Row:
    difference, plans = pair.difference, dict.fromkeys(PLANS if is_planned else (), "")
    if is_planned and difference is not None and pair.outcome is Outcome.OPEN:
        for name, effect in zip(plans, (pair.smallest_effect, abs(difference.estimate)), strict=True):
            plans[name] = _within_reach(seeds_needed(difference, effect=effect, level=pair.planning_level), kind="seeds")
    return {
        "arm": pair.arm,
        "other": pair.comparison.reference_name,
        "difference": pair.new_questions,
        "p_value": pair.p_value,
        "adjusted_p": pair.adjusted_p,
        "said": sentence_of(pair, "pair"),
        "seeds": _seeds(difference) if difference else "",
        **plans,
    }
