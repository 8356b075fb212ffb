"""All pairs of trained arms on the endpoint: which can be told apart. Secondary: the verdicts are family.py's, on what was declared."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vlm_rl.evaluation.power import MOST_SEEDS, seeds_needed
from vlm_rl.evaluation.statistics import Interval
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, LEVEL, Outcome, decide
from vlm_rl.reports.phrase import Phrase, say
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.tables.table import Row, Table, table_of
from vlm_rl.reports.verdicts.arm_verdict import NO_INTERVAL, ArmVerdict
from vlm_rl.reports.verdicts.comparisons import Comparison, compare, tested
from vlm_rl.reports.verdicts.family import why_not
from vlm_rl.reports.verdicts.plan_sentences import count_range


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two trained arms, compared as if nobody had planned to: never a verdict."""

    comparison: Comparison
    p_value: float  # NaN where there is none
    adjusted_p: float  # Holm's, over all pairs
    level: float  # that the first of all pairs must reach: plans are made for it
    smallest_effect: float  # delta, a share

    @property
    def reason(self) -> Phrase | None:
        """Why nothing can be said; also two seeds are too few to tell arms apart."""
        difference = self.comparison.difference
        if difference is not None and difference.num_seeds == FEWEST_SEEDS - 1:
            return say("two seeds are too few")
        return why_not(self.comparison)

    @property
    def outcome(self) -> Outcome:
        """Improvement and harm stand for arms that are told apart; as a pair neither is called so."""
        difference = self.comparison.difference
        if difference is None or self.reason is not None:
            return Outcome.NOT_JUDGED
        return decide(difference, adjusted_p=self.adjusted_p, smallest_effect=self.smallest_effect)

    @property
    def interval(self) -> Interval:
        """95 %, new seeds and new questions; no ends where there is no p."""
        if self.comparison.difference is None:
            return NO_INTERVAL
        interval = self.comparison.difference.new_questions()
        return replace(interval, low=math.nan, high=math.nan) if math.isnan(self.p_value) else interval


def pair_table(records: Records, *, verdicts: Sequence[ArmVerdict]) -> Table:
    """A row for each pair, in the order of arms; empty for fewer than three arms. `verdicts` brings the endpoint and delta."""
    pairs = pairs_of(records, verdicts=verdicts)
    delta = 100 * verdicts[0].smallest_effect if verdicts else math.nan
    return table_of("pairs", (_row(pair) for pair in pairs), pairs=len(pairs), delta=delta)


def pairs_of(records: Records, *, verdicts: Sequence[ArmVerdict]) -> tuple[Pair, ...]:
    """Every pair of trained arms, with Holm's correction over all of them."""
    if not records.has_many_arms or not verdicts:
        return ()
    choice = verdicts[0].comparison.choice
    both = itertools.combinations(records.trained, 2)
    found = tested([compare(arm, reference=other, choice=choice) for arm, other in both])
    level = LEVEL / max(1, sum(not math.isnan(p) for _, p, _ in found))
    return tuple(
        Pair(comparison=one, p_value=p, adjusted_p=adjusted_p, level=level, smallest_effect=verdicts[0].smallest_effect)
        for one, p, adjusted_p in found
    )


def _row(pair: Pair) -> Row:
    comparison, difference = pair.comparison, pair.comparison.difference
    arm, other = comparison.arm, comparison.reference
    seeds_for_delta, seeds_as_measured = _plans(pair) if pair.outcome is Outcome.OPEN else ("", "")
    return {
        "arm": arm.label,
        "other": "" if other is None else other.label,
        "difference": pair.interval,
        "p_value": pair.p_value,
        "adjusted_p": pair.adjusted_p,
        "said": _said(pair),
        "seeds": " + ".join(map(str, difference.seeds)) if difference else "",
        "seeds_for_delta": seeds_for_delta,
        "seeds_as_measured": seeds_as_measured,
    }


def _said(pair: Pair) -> Phrase:
    if pair.outcome is Outcome.NOT_JUDGED:
        return say("not told apart: {reason}", reason=pair.reason)
    if pair.outcome is Outcome.NO_DIFFERENCE:
        return say("not told apart, and less than {delta:g} points apart", delta=100 * pair.smallest_effect)
    return say("not told apart") if pair.outcome is Outcome.OPEN else say("told apart")


def _plans(pair: Pair) -> Iterator[Phrase]:
    """Seeds of each arm for the smallest effect that matters and for the one measured."""
    difference = pair.comparison.difference
    assert difference is not None  # or else the pair would not be open
    for effect in (pair.smallest_effect, abs(difference.estimate)):
        needed = seeds_needed(difference, effect=effect, level=pair.level)
        yield say("out of reach") if math.isinf(needed.low) else count_range(needed, most=MOST_SEEDS)
