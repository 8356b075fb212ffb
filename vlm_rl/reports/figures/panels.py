"""What a picture shows, before anything is drawn: named axes, and for each arm every seed, the mean and the spread."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rl.reports.phrase import Phrase, phrase_of, say, say_named, sentences_of, words
from vlm_rl.reports.tables.table import finite

FloatArray = NDArray[np.float64]
BAND = say("± 1 standard deviation over seeds")  # as the bands of the paper's figures


@dataclass(frozen=True, kw_only=True)
class Line:
    """One arm in a panel: a row for each seed over common x, NaN where a seed has no value."""

    label: str
    color: int  # place of the arm in the palette, the same in every panel
    x: FloatArray
    by_seed: Mapping[int, FloatArray]  # the runs that mean and band speak of
    unfinished: Mapping[int, FloatArray]  # drawn, not averaged
    interval: tuple[FloatArray, FloatArray] | None = None  # low and high ends, NaN where there are none; None: the spread

    def mean(self) -> FloatArray:
        """Over the seeds that have a value at x."""
        return self._over_seeds(np.nanmean)

    def spread(self) -> FloatArray:
        """Standard deviation over seeds (n - 1); NaN where fewer than two seeds have a value."""
        return self._over_seeds(lambda values, axis: np.nanstd(values, axis=axis, ddof=1))

    def band(self) -> tuple[FloatArray, FloatArray]:
        """Low and high ends of what is shaded: the interval, or else mean -+ spread."""
        if self.interval is not None:
            return self.interval
        mean, spread = self.mean(), self.spread()
        return mean - spread, mean + spread

    def _over_seeds(self, reduce: Any) -> FloatArray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # an empty column is a missing value, not a mistake
            return np.asarray(reduce(np.stack(list(self.by_seed.values())), axis=0))


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One set of axes."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    behind: tuple[
        Line, ...
    ] = ()  # other arms, of which only the mean is drawn, faint; their numbers stand where they are `lines`
    is_share: bool = False  # y is a share in [0, 1], drawn in percent
    baseline: float | None = None  # mean accuracy of the untrained model, a dashed line
    band: str = BAND  # what is shaded
    y_range: tuple[float, float] | None = None  # where the axis begins and ends, in the units of y; None: where the lines do

    def as_json(self) -> dict[str, Any]:
        """All numbers of the panel."""
        return {
            "title": self.title,
            "x": self.x_label,
            "y": self.y_label,
            "band": self.band,
            "vanilla": finite(self.baseline),
            "lines": [_line_as_json(line) for line in self.lines],
        }


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Panels that belong together, as the paper groups them."""

    name: str  # of its files
    title: str
    caption: str
    panels: tuple[Panel, ...]
    num_columns: int


def figure_of(name: str, panels: Iterable[Panel], *, num_columns: int, **values: Any) -> Figure:
    """The figure that words/figures.toml declares under a name, of the panels that show anything; `values` fill its words."""
    declared = words("figures")[name]
    return Figure(
        name=name,
        title=phrase_of(declared["title"], values),
        caption=sentences_of(declared["caption"], {"how_to_read": how_to_read()} | values),
        panels=tuple(panel for panel in panels if panel.lines),
        num_columns=num_columns,
    )


def how_to_read(band: str = BAND) -> Phrase:
    """Every picture with a line for each arm."""
    return say_named("figures.how_to_read", band=band)


def _line_as_json(line: Line) -> dict[str, Any]:
    seeds = {str(seed): _plain(values) for seed, values in line.by_seed.items()}
    unfinished = {str(seed): _plain(values) for seed, values in line.unfinished.items()}
    low, high = line.band()
    numbers = {"x": line.x, "mean": line.mean(), "standard_deviation": line.spread(), "band_low": low, "band_high": high}
    return (
        {"arm": line.label, "num_seeds": len(seeds)}
        | {name: _plain(values) for name, values in numbers.items()}
        | {"seeds": seeds, "unfinished": unfinished}
    )


def _plain(values: FloatArray) -> list[float | None]:
    return [finite(float(value)) for value in values]
