"""All pairs of trained arms on the endpoint: which can be told apart. Secondary: the verdicts are family.py's, on what was declared."""

import itertools
import math
from collections.abc import Iterator, Sequence

from vlm_rl.evaluation.power import MOST_SEEDS, seeds_needed
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, Outcome
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.tables.table import Row, Table, table_of
from vlm_rl.reports.verdicts.arm_verdict import ArmVerdict, Judged
from vlm_rl.reports.verdicts.comparisons import Comparison, compare
from vlm_rl.reports.verdicts.family import judged_all, why_not
from vlm_rl.reports.verdicts.plan_sentences import count_range
from vlm_rl.reports.verdicts.verdict_sentences import said


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
