"""The verdict on every trained arm of a report (docs/statistics.md): compare, adjust over the family, decide. In numbers only."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vlm_rl.evaluation.statistics import Difference, Interval
from vlm_rl.evaluation.verdict import FEWEST_SEEDS, LEVEL, Outcome, decide, holm, lacks_seed_spread, p_value
from vlm_rl.reports.phrase import Phrase, say_named
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.verdicts.comparisons import Comparison, compare
from vlm_rl.reports.verdicts.endpoint_scores import EndpointChoice, choose_reference

NO_INTERVAL = Interval(estimate=math.nan, low=math.nan, high=math.nan, num_seeds=0)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One comparison of a family and what came out, with all that it rests on."""

    comparison: Comparison
    outcome: Outcome
    reason: Phrase | None  # why it is not judged
    p_value: float  # NaN where there is none
    adjusted_p: float  # Holm's, over the family
    family: int  # comparisons with a p-value
    smallest_effect: float  # delta, a share

    @property
    def arm(self) -> str:
        """Label of the trained arm."""
        return self.comparison.arm.label

    @property
    def difference(self) -> Difference | None:
        """None where nothing could be compared."""
        return self.comparison.difference

    @property
    def new_questions(self) -> Interval:
        """95 %: new seeds, and new questions like these."""
        return NO_INTERVAL if self.difference is None else self._if_tested(self.difference.new_questions())

    @property
    def same_benchmark(self) -> Interval:
        """95 %: new seeds, these very questions."""
        return NO_INTERVAL if self.difference is None else self._if_tested(self.difference.same_benchmark())

    def _if_tested(self, interval: Interval) -> Interval:
        """No ends where seeds do not differ at all: an interval of width 0 would look like certainty."""
        return replace(interval, low=math.nan, high=math.nan) if math.isnan(self.p_value) else interval

    @property
    def planning_level(self) -> float:
        """The level that the least likely of the family must reach, Holm's first step: plans are made for it."""
        return LEVEL / max(1, self.family)


def verdicts_of(
    records: Records, *, choice: EndpointChoice, reference: str | None, smallest_effect: float
) -> tuple[Judged, ...]:
    """One verdict for each trained arm but the reference: the declared family, not all pairs.

    `reference` is the label or variant of a trained arm, which counts as chosen after the runs unless they declared it, or
    "vanilla"; None: as the runs declared, else each arm's own vanilla model. `smallest_effect`: delta, a share.
    """
    chosen = choose_reference(records, choice=choice, reference=reference)
    comparisons = [compare(arm, reference=chosen, choice=choice) for arm in records.trained if arm is not chosen]
    return tuple(map(_checked, judged_all(comparisons, smallest_effect=smallest_effect)))


def judged_all(comparisons: Sequence[Comparison], *, smallest_effect: float, fewest_seeds: int = 2) -> Iterator[Judged]:
    """What came out of each comparison, with Holm's correction over all that have a p-value."""
    p_values = [math.nan if one.difference is None else p_value(one.difference) for one in comparisons]
    family = sum(not math.isnan(p) for p in p_values)
    for one, p, adjusted_p in zip(comparisons, p_values, holm(p_values), strict=True):
        reason, outcome = _why_not(one, fewest_seeds=fewest_seeds), Outcome.NOT_JUDGED
        if one.difference is not None and reason is None:
            outcome = decide(one.difference, adjusted_p=adjusted_p, smallest_effect=smallest_effect)
        yield Judged(
            comparison=one,
            outcome=outcome,
            reason=reason,
            p_value=p,
            adjusted_p=adjusted_p,
            family=family,
            smallest_effect=smallest_effect,
        )


def _why_not(comparison: Comparison, *, fewest_seeds: int) -> Phrase | None:
    """Why a comparison is not judged at all; None where it is."""
    difference = comparison.difference
    if difference is None:
        return comparison.refusal
    if difference.num_seeds < 2:
        return say_named("verdict.reason.one_seed")
    if difference.num_seeds < fewest_seeds:
        return say_named("verdict.reason.two_seeds")
    if difference.num_questions < 2:
        return say_named("verdict.reason.one_question")
    if lacks_seed_spread(difference):
        happened = "no_spread" if difference.estimate else "nothing_happened"
        return say_named(f"verdict.reason.{happened}", seeds=difference.num_seeds)
    return None


def _checked(judged: Judged) -> Judged:
    """A gain that passes the test is not called an improvement if endpoint, reference or number of seeds do not allow it."""
    comparison, reason = judged.comparison, None
    if not comparison.choice.is_declared:
        reason = say_named("verdict.reason.late_endpoint")
    elif comparison.has_late_reference:
        reason = say_named("verdict.reason.late_reference")
    elif comparison.difference is not None and comparison.difference.num_seeds < FEWEST_SEEDS:
        reason = say_named("verdict.reason.gain_of_two_seeds")
    is_improvement = judged.outcome is Outcome.IMPROVEMENT
    return replace(judged, outcome=Outcome.NOT_JUDGED, reason=reason) if is_improvement and reason else judged
