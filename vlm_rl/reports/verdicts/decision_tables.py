"""The verdicts as a table, and what other designs would have seen. Sentences are verdict_sentences.py's."""

import itertools
import math
from collections.abc import Iterator, Sequence

from vlm_rl.evaluation.power import (
    MOST_QUESTIONS,
    MOST_SEEDS,
    detectable_effect,
    questions_needed,
    seeds_needed,
    variance_limits,
)
from vlm_rl.evaluation.statistics import Difference
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, Outcome
from vlm_rl.reports.phrase import Phrase, paragraph, say, say_named
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.tables.table import Row, Table, table_of
from vlm_rl.reports.verdicts.comparisons import Comparison, compare
from vlm_rl.reports.verdicts.family import ArmVerdict
from vlm_rl.reports.verdicts.judged import Judged, judged_all, why_not
from vlm_rl.reports.verdicts.verdict_sentences import TIMES_AS_MANY, count_range, effect_range, reference_of, said

PLANNED_SEEDS = (3, 5, 10, 20)


def decision_table(verdicts: Sequence[ArmVerdict]) -> Table:
    """Each arm of the family: effect, both intervals, p-values, and what may be said."""
    rows = [_decision_row(verdict) for verdict in verdicts]
    without = () if any(row["seeds"] == "1" for row in rows) else ("this_run_only",)
    return table_of("decisions", rows, without=without, chosen=paragraph(*(verdicts[0].notes if verdicts else ())))


def _decision_row(verdict: ArmVerdict) -> Row:
    difference = verdict.difference
    return {
        "arm": verdict.arm,
        "reference": reference_of(verdict),
        "verdict": said(verdict, "word"),
        "gain": verdict.new_questions,
        "same_benchmark": verdict.same_benchmark,
        "this_run_only": verdict.this_run_only,
        "p_value": verdict.p_value,
        "adjusted_p": verdict.adjusted_p,
        "seeds": " + ".join(map(str, difference.seeds)) if difference else str(len(verdict.seeds)),
        "questions": verdict.comparison.num_questions,
        "images": difference.num_questions if difference else math.nan,
        "epochs": ", ".join(str(evaluation.epoch) for evaluation in verdict.comparison.scores.evaluations.values()),
        "left_out": str(len(verdict.dropped)) if verdict.dropped else "",
        "variance_seeds": difference.variance_seeds if difference else math.nan,
        "variance_questions": difference.variance_questions if difference else math.nan,
    }


def power_table(verdicts: Sequence[ArmVerdict]) -> Table:
    """For each arm with a measured spread: what this design and larger ones find at 80 % power."""
    delta = 100 * verdicts[0].smallest_effect if verdicts else math.nan
    planned = [
        (verdict, verdict.difference)
        for verdict in verdicts
        if verdict.difference is not None and not math.isnan(verdict.p_value)
    ]
    rows = (
        _power_row(verdict, difference=difference, seeds=seeds)
        for verdict, difference in planned
        for seeds in (None, *(seeds for seeds in PLANNED_SEEDS if {seeds} != set(difference.seeds)))
    )
    return table_of(
        "power",
        rows,
        times=TIMES_AS_MANY,
        delta=delta,
        how_uncertain=paragraph(*_how_uncertain([difference for _, difference in planned])),
    )


def _how_uncertain(planned: Sequence[Difference]) -> Iterator[Phrase]:
    """How far the spread over seeds may lie from its estimate, for the arm whose seeds say least of it."""
    for difference in sorted(planned, key=lambda difference: difference.df_seeds)[:1]:
        low, high = variance_limits(difference.df_seeds)
        yield say_named("plan.how_uncertain", seeds=difference.num_seeds, low=math.sqrt(low), high=math.sqrt(high))


def _power_row(verdict: ArmVerdict, *, difference: Difference, seeds: int | None) -> Row:
    """`seeds` None: as many as there are."""
    asked, level, runs = difference.num_questions, verdict.planning_level, difference.num_seeds if seeds is None else seeds
    found, found_with_more = (
        detectable_effect(difference, seeds=seeds, questions=times * asked, level=level) for times in (1, TIMES_AS_MANY)
    )
    too_few = say("none: fewer than three seeds") if runs < FEWEST_SEEDS else None
    needed = questions_needed(difference, effect=verdict.smallest_effect, seeds=seeds, level=level)
    return {
        "arm": verdict.arm,
        "seeds": runs,
        "questions": asked,
        "found": too_few or effect_range(found),
        "found_with_more": too_few or effect_range(found_with_more),
        "questions_needed": say("out of reach") if math.isinf(needed.low) else count_range(needed, most=MOST_QUESTIONS),
        "found_share": found.estimate,
        "found_share_low": found.low,
        "found_share_high": found.high,
    }


def pair_table(records: Records, *, verdicts: Sequence[ArmVerdict]) -> Table:
    """A row for each pair, in the order of arms; empty for fewer than three arms. `verdicts` brings the endpoint and delta."""
    pairs = pairs_of(records, verdicts=verdicts)
    delta = 100 * verdicts[0].smallest_effect if verdicts else math.nan
    return table_of("pairs", (_row(pair) for pair in pairs), pairs=len(pairs), delta=delta)


def pairs_of(records: Records, *, verdicts: Sequence[ArmVerdict]) -> tuple[Judged, ...]:
    """Every pair of trained arms, with Holm's correction over all of them."""
    if not records.has_many_arms or not verdicts:
        return ()
    choice = verdicts[0].comparison.choice
    both = itertools.combinations(records.trained, 2)
    comparisons = [compare(arm, reference=other, choice=choice) for arm, other in both]
    return tuple(judged_all(comparisons, why_not=_why_not, smallest_effect=verdicts[0].smallest_effect))


def _why_not(comparison: Comparison) -> Phrase | None:
    """Why nothing can be said; also two seeds are too few to tell arms apart. Improvement and harm say that they are."""
    if comparison.difference is not None and comparison.difference.num_seeds == FEWEST_SEEDS - 1:
        return say("two seeds are too few")
    return why_not(comparison)


def _row(pair: Judged) -> Row:
    comparison, difference = pair.comparison, pair.comparison.difference
    arm, other = comparison.arm, comparison.reference
    seeds_for_delta, seeds_as_measured = _plans(pair) if pair.outcome is Outcome.OPEN else ("", "")
    return {
        "arm": arm.label,
        "other": "" if other is None else other.label,
        "difference": pair.new_questions,
        "p_value": pair.p_value,
        "adjusted_p": pair.adjusted_p,
        "said": said(pair, "pair"),
        "seeds": " + ".join(map(str, difference.seeds)) if difference else "",
        "seeds_for_delta": seeds_for_delta,
        "seeds_as_measured": seeds_as_measured,
    }


def _plans(pair: Judged) -> Iterator[Phrase]:
    """Seeds of each arm for the smallest effect that matters and for the one measured."""
    difference = pair.comparison.difference
    assert difference is not None  # or else the pair would not be open
    for effect in (pair.smallest_effect, abs(difference.estimate)):
        needed = seeds_needed(difference, effect=effect, level=pair.planning_level)
        yield say("out of reach") if math.isinf(needed.low) else count_range(needed, most=MOST_SEEDS)
