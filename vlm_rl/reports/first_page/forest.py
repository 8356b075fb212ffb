"""The picture of the verdicts: each arm's effect with its interval and every seed, over the band of effects too small to matter."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm_rl.evaluation.verdict import LEVEL
from vlm_rl.reports.phrase import Phrase, say, say_named
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.tables.table import finite
from vlm_rl.reports.verdicts.comparisons import Comparison
from vlm_rl.reports.verdicts.family import Judged

MARGIN = 0.06  # of the width, on either side
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # shares between ticks
MOST_TICKS = 8


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One arm; shares."""

    label: str
    color: int
    estimate: float
    low: float  # of the interval that agrees with the verdict; NaN where there is none
    high: float
    seeds: tuple[float, ...]  # effect of each

    @property
    def has_interval(self) -> bool:
        """Whether the ends are known: both or none."""
        return math.isfinite(self.low)

    @property
    def text(self) -> Phrase:
        """The effect as a person reads it."""
        return say("{gain:+.1f} points", gain=100 * self.estimate)

    @property
    def detail(self) -> Phrase:
        """Interval and number of seeds, in small letters."""
        span = say("{low:+.1f} to {high:+.1f}", low=100 * self.low, high=100 * self.high)
        return say("{span}; n = {seeds}", span=span if self.has_interval else say("no interval"), seeds=len(self.seeds))

    def as_json(self) -> dict[str, Any]:
        """Plain numbers."""
        ends = {"effect": finite(self.estimate), "low": finite(self.low), "high": finite(self.high)}
        return {"arm": self.label, **ends, "seeds": [finite(seed) for seed in self.seeds]}


@dataclass(frozen=True, kw_only=True)
class Forest:
    """All rows on one scale that shows 0, the band and every seed."""

    title: Phrase
    delta: float
    rows: tuple[ForestRow, ...]
    is_widened: bool = False  # for several arms, or several looks

    @property
    def caption(self) -> Phrase:
        """How to read it."""
        bars = "widened" if self.is_widened else "alone"
        return say_named("figures.forest", delta=100 * self.delta, bars=say_named(f"figures.bars.{bars}"))

    @property
    def ends(self) -> tuple[float, float]:
        """Left and right end of the scale."""
        values = [0.0, self.delta, -self.delta]
        for row in self.rows:
            values += [row.estimate, *row.seeds, *([row.low, row.high] if row.has_interval else [])]
        margin = MARGIN * (max(values) - min(values))
        return min(values) - margin, max(values) + margin

    @property
    def ticks(self) -> tuple[float, ...]:
        """Round effects on the scale, 0 among them."""
        low, high = self.ends
        step = next((step for step in TICKS if (high - low) / step <= MOST_TICKS), 1.0)
        return tuple(place * step for place in range(math.ceil(low / step), math.floor(high / step) + 1))

    def place(self, effect: float) -> float:
        """Where an effect lies, in percent of the width."""
        return self.width(effect - self.ends[0])

    def width(self, effect: float) -> float:
        """How wide a range of effects is, in percent of the width."""
        low, high = self.ends
        return round(100 * effect / (high - low), 3)


def forest_of(verdicts: Sequence[Judged], *, records: Records) -> Forest | None:
    """Each compared arm; colours as in every other figure."""
    places = [arm.label for arm in records.trained]
    rows = [_row(verdict, color=places.index(verdict.arm)) for verdict in verdicts if verdict.difference is not None]
    if not rows:
        return None
    reference = verdicts[0].comparison.reference
    title = say("Effect on accuracy, in points")
    if reference is not None:
        title = say("Effect on accuracy against {reference}, in points", reference=reference.label)
    is_widened = verdicts[0].planning_level < LEVEL
    return Forest(title=title, delta=verdicts[0].smallest_effect, rows=tuple(rows), is_widened=is_widened)


def _row(verdict: Judged, *, color: int) -> ForestRow:
    interval, seeds = verdict.agreeing, tuple(_effects(verdict.comparison))
    ends = {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
    return ForestRow(label=verdict.arm, color=color, **ends, seeds=seeds)


def _effects(comparison: Comparison) -> list[float]:
    """The effect of each seed, against its own vanilla model or against the mean of the reference."""
    level = {seed: evaluation.accuracy() for seed, evaluation in comparison.reference_scores.evaluations.items()}
    mean, paired = math.fsum(level.values()) / len(level), comparison.reference is None
    scores = comparison.scores.evaluations.items()
    return [evaluation.accuracy() - (level[seed] if paired else mean) for seed, evaluation in scores]
