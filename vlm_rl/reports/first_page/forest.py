"""The picture of the verdicts: each arm's effect with its interval and every seed, over the band of effects too small to matter."""

import math
from dataclasses import dataclass
from typing import Any

from vlm_rl.reports.phrase import Phrase
from vlm_rl.reports.tables.table import finite

MARGIN = 0.06  # of the width, on either side
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # shares between ticks
MOST_TICKS = 8


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One arm; shares."""

    label: str
    color: int
    estimate: float
    low: float  # NaN where there is no interval
    high: float
    seeds: tuple[float, ...]  # effect of each
    text: Phrase  # the effect as a person reads it
    detail: Phrase | str

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers."""
        ends = {"effect": finite(self.estimate), "low": finite(self.low), "high": finite(self.high)}
        return {"arm": self.label, **ends, "seeds": [finite(seed) for seed in self.seeds]}


@dataclass(frozen=True, kw_only=True)
class Forest:
    """All rows on one scale that shows 0, the band and every seed."""

    title: Phrase
    caption: Phrase
    delta: float
    rows: tuple[ForestRow, ...]

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
        low, high = self.ends
        return round(100 * (effect - low) / (high - low), 3)

    def width(self, effect: float) -> float:
        """How wide a range of effects is, in percent of the width."""
        low, high = self.ends
        return round(100 * effect / (high - low), 3)
