"""What came out of each comparison of a family, in numbers, with Holm's correction over all. The sentences are verdict_sentences.py's."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from vlm_rl.evaluation.statistics import Difference, Interval
from vlm_rl.evaluation.verdict import LEVEL, Outcome, decide, holm, lacks_seed_spread, p_value
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.verdicts.comparisons import VANILLA, Comparison

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
    def has_late_reference(self) -> bool:
        """Whether what the arm is compared with was chosen after the runs."""
        return not self.comparison.choice.declares(self.comparison.reference)

    @property
    def reference_note(self) -> Phrase | None:
        """Since when the reference is fixed; None where it is the untrained model and no other was declared."""
        declared, reference = self.comparison.choice.endpoint.reference, self.comparison.reference
        if reference is None:
            if declared in (None, VANILLA):
                return None
            return say_named("reference.not_this", reference=declared)
        if self.has_late_reference:
            return say_named("reference.chosen_afterwards", reference=reference.label)
        return say("The reference, {reference}, was declared by the runs before they started.", reference=reference.label)

    @property
    def notes(self) -> tuple[Phrase, ...]:
        """What it is judged by and compared with, and since when that is fixed."""
        return (self.comparison.choice.note, *(() if self.reference_note is None else (self.reference_note,)))

    @property
    def difference(self) -> Difference | None:
        """None where nothing could be compared."""
        return self.comparison.difference

    @property
    def effect(self) -> float:
        """g, a share; NaN where nothing could be compared."""
        return math.nan if self.difference is None else self.difference.estimate

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
    def this_run_only(self) -> Interval:
        """95 %: this very run, new questions. Only for a single seed, of which nothing better can be said."""
        if self.difference is None or self.difference.num_seeds > 1:
            return NO_INTERVAL
        return self.difference.this_run_only()

    @property
    def planning_level(self) -> float:
        """The level that the least likely of the family must reach, Holm's first step: plans are made for it."""
        return LEVEL / max(1, self.family)

    @property
    def flags(self) -> tuple[Phrase, ...]:
        """What to look at; none of it changed the verdict."""
        return self.comparison.flags

    @property
    def dropped(self) -> tuple[Phrase, ...]:
        """Runs that should count and do not."""
        return self.comparison.dropped

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the arm that count."""
        return self.comparison.scores.seeds


def judged_all(
    comparisons: Sequence[Comparison], *, why_not: Callable[[Comparison], Phrase | None], smallest_effect: float
) -> Iterator[Judged]:
    """What came out of each comparison, with Holm's correction over all that have a p-value."""
    p_values = [math.nan if one.difference is None else p_value(one.difference) for one in comparisons]
    family = sum(not math.isnan(p) for p in p_values)
    for one, p, adjusted_p in zip(comparisons, p_values, holm(p_values), strict=True):
        reason, outcome = why_not(one), Outcome.NOT_JUDGED
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


def why_not(comparison: Comparison) -> Phrase | None:
    """Why there is no verdict on an arm at all."""
    difference = comparison.difference
    if difference is None:
        return comparison.refusal
    if difference.num_seeds < 2:
        return say("one seed shows one run, and says nothing about the next")
    if difference.num_questions < 2:
        return say("one question shows no chance between questions")
    if lacks_seed_spread(difference):
        happened = "no_spread" if difference.estimate else "nothing_happened"
        return say_named(f"comparison.{happened}", seeds=difference.num_seeds)
    return None
