"""The verdict on every trained arm of a report (docs/statistics.md): compare, adjust over the family, decide. In numbers only."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from vlm_rl.evaluation.statistics import Difference, Interval
from vlm_rl.evaluation.verdict import (
    FEWEST_SEEDS,
    LEVEL,
    Outcome,
    decide,
    equivalence_interval,
    holm,
    holm_levels,
    lacks_seed_spread,
    p_value,
)
from vlm_rl.reports.phrase import Phrase, listed, names, say_named
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.doubts import Doubt
from vlm_rl.reports.verdicts.comparisons import Comparison, compare
from vlm_rl.reports.verdicts.endpoint_scores import EndpointChoice, choose_reference
from vlm_rl.reports.verdicts.looks import NO_LOOKS, Looks

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
    level: float = LEVEL  # at which Holm's procedure tested it
    looks: tuple[int, ...] = ()  # seeds of each look at it, this one last
    doubts: tuple[Doubt, ...] = ()  # that keep it from being judged
    accepted: tuple[Doubt, ...] = ()  # by the person who reports

    @property
    def arm(self) -> str:
        """Label of the trained arm."""
        return self.comparison.arm.label

    @property
    def difference(self) -> Difference | None:
        """None where nothing could be compared."""
        return self.comparison.difference

    @property
    def notes(self) -> tuple[Phrase, ...]:
        """What is judged, and since when that is fixed; of the smallest effect only where it was chosen later."""
        return (*self.comparison.notes, *([self.effect_note] if self.has_late_effect else []))

    @property
    def has_late_effect(self) -> bool:
        """Whether the smallest effect that matters is not the one that the runs declared, or the usual one where they declared none."""
        return self.smallest_effect != self.comparison.choice.endpoint.smallest_effect

    @property
    def effect_note(self) -> Phrase:
        """Since when the smallest effect that matters is fixed, as a sentence."""
        declares = self.comparison.choice.declares_effect
        since = "afterwards" if self.has_late_effect else "declared" if declares else "not_declared"
        return say_named(f"smallest_effect.{since}", delta=100 * self.smallest_effect)

    @property
    def new_questions(self) -> Interval:
        """95 %, of this arm alone: new seeds, and new questions like these."""
        return NO_INTERVAL if self.difference is None else self._if_tested(self.difference.new_questions())

    @property
    def same_benchmark(self) -> Interval:
        """95 %, of this arm alone: new seeds, these very questions."""
        return NO_INTERVAL if self.difference is None else self._if_tested(self.difference.same_benchmark())

    @property
    def agreeing(self) -> Interval:
        """The interval that agrees with the verdict: without 0 exactly where a difference is claimed, within delta where none is."""
        if self.difference is None:
            return NO_INTERVAL
        if self.outcome is Outcome.NO_DIFFERENCE:
            return equivalence_interval(self.difference, level=self.look_level)
        return self._if_tested(self.difference.new_questions(confidence=self.confidence))

    @property
    def confidence(self) -> float:
        """Of `agreeing`; 95 % for a single arm and a single look."""
        if self.outcome is Outcome.NO_DIFFERENCE:
            return 1 - 2 * self.look_level
        return 1 - (self.look_level if math.isnan(self.level) else self.level)

    @property
    def look_level(self) -> float:
        """The part of the level that each planned look gets."""
        return LEVEL / self.comparison.choice.endpoint.planned_looks

    def _if_tested(self, interval: Interval) -> Interval:
        """No ends where seeds do not differ at all: an interval of width 0 would look like certainty."""
        return replace(interval, low=math.nan, high=math.nan) if math.isnan(self.p_value) else interval

    @property
    def planning_level(self) -> float:
        """The level that the least likely of the family must reach, Holm's first step: plans are made for it."""
        return self.look_level / max(1, self.family)


def verdicts_of(
    records: Records,
    *,
    choice: EndpointChoice,
    reference: str | None,
    smallest_effect: float | None = None,
    accept: Collection[str] = (),
    looks: Looks = NO_LOOKS,
) -> tuple[Judged, ...]:
    """One verdict for each trained arm that is shown, but the reference; corrected for all arms of the studies, not for all pairs.

    `reference` is the label or variant of a trained arm, which counts as chosen after the runs unless they declared it, or
    "vanilla"; None: as the runs declared, else each arm's own vanilla model. `smallest_effect`: delta, a share; None: as declared.
    `accept`: kinds of doubts that keep no arm from being judged. `looks`: earlier reports on these studies.
    """
    chosen = choose_reference(records, choice=choice, reference=reference)
    comparisons = [compare(arm, reference=chosen, choice=choice) for arm in records.family if arm is not chosen]
    delta = choice.endpoint.smallest_effect if smallest_effect is None else smallest_effect
    judged = judged_all(comparisons, smallest_effect=delta, accept=accept, looks=looks)
    return tuple(_checked(one) for one in judged if one.comparison.arm in records.trained)


def judged_all(
    comparisons: Sequence[Comparison], *, smallest_effect: float, accept: Collection[str] = (), looks: Looks = NO_LOOKS
) -> Iterator[Judged]:
    """What came out of each comparison, with Holm's correction over all that have a p-value, judged or not."""
    p_values = [math.nan if one.difference is None else p_value(one.difference) for one in comparisons]
    family = sum(not math.isnan(p) for p in p_values)
    look_level = LEVEL / comparisons[0].choice.endpoint.planned_looks if comparisons else LEVEL
    levels = holm_levels(p_values, level=look_level)
    for one, p, adjusted_p, level in zip(comparisons, p_values, holm(p_values), levels, strict=True):
        found = (*one.doubts, *looks.doubts(one))
        doubts = tuple(doubt for doubt in found if doubt.kind not in accept)
        reason, outcome = _why_not(one, doubts=doubts), Outcome.NOT_JUDGED
        if one.difference is not None and reason is None:
            outcome = decide(one.difference, adjusted_p=adjusted_p, smallest_effect=smallest_effect, level=look_level)
        yield Judged(
            comparison=one,
            outcome=outcome,
            reason=reason,
            p_value=p,
            adjusted_p=adjusted_p,
            family=family,
            smallest_effect=smallest_effect,
            level=level,
            looks=looks.seeds_of(one),
            doubts=doubts,
            accepted=tuple(doubt for doubt in found if doubt.kind in accept),
        )


def _why_not(comparison: Comparison, *, doubts: Sequence[Doubt]) -> Phrase | None:
    """Why a comparison is not judged at all; None where it is."""
    difference = comparison.difference
    if difference is None:
        return comparison.refusal
    if doubts:
        return listed(names("doubts")[kind] for kind in dict.fromkeys(doubt.kind for doubt in doubts))
    if difference.num_seeds < 2:
        return say_named("verdict.reason.one_seed")
    if difference.num_questions < 2:
        return say_named("verdict.reason.one_question")
    if lacks_seed_spread(difference):
        happened = "no_spread" if difference.estimate else "nothing_happened"
        return say_named(f"verdict.reason.{happened}", seeds=difference.num_seeds)
    return say_named("verdict.reason.two_seeds") if difference.num_seeds < FEWEST_SEEDS else None


def _checked(judged: Judged) -> Judged:
    """No gain is called an improvement, and no interval "no difference", by what was chosen after the runs."""
    comparison, reason = judged.comparison, None
    if judged.outcome is Outcome.IMPROVEMENT:
        if not comparison.choice.is_declared:
            reason = say_named("verdict.reason.late_endpoint")
        elif comparison.has_late_reference:
            reason = say_named("verdict.reason.late_reference")
    if judged.outcome is Outcome.NO_DIFFERENCE and judged.has_late_effect:
        reason = say_named("verdict.reason.late_effect", delta=100 * judged.smallest_effect)
    return judged if reason is None else replace(judged, outcome=Outcome.NOT_JUDGED, reason=reason)
