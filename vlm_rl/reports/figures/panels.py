"""What a picture shows, before anything is drawn: named axes, and for each arm every seed, the mean and the spread."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rl.reports.phrase import Phrase, paragraph, phrase_of, say, say_named, sentences_of, words
from vlm_rl.reports.tables.table import finite

PALETTE = ("#414899", "#ec5022", "#537e75", "#c95eb3", "#7d541a", "#2a8eef", "#2a1363", "#581d0e")  # on white
DARK_PALETTE = ("#457cfd", "#e26b1b", "#88ba87", "#d38dd9", "#dcd838", "#88e0f7", "#805f95", "#f4fed9")  # in dark mode
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # arms are told apart in black and white too
GLYPHS = "●■▲◆▼✚✖★"  # the markers as text
LONG_DASH, DOT = (7.0, 2.0), (1.5, 2.0)  # ink and gap, in line widths


def variable_of(place: int) -> int:
    """Which of the page's colours --arm-0, --arm-1, ... an arm has."""
    return place % len(PALETTE)


def style_of(place: int) -> dict[str, Any]:
    """An arm in matplotlib: solid for the first arms, then long dashes, then a dot more between them each time the colours are used up."""
    rounds, place = divmod(place, len(PALETTE))
    line = (0.0, LONG_DASH + DOT * (rounds - 1)) if rounds else "-"
    return {"color": PALETTE[place], "marker": MARKERS[place], "linestyle": line}


def glyph_of(place: int) -> str:
    """Marker and line as text, for a legend: `●——`, for the ninth arm `●– –`."""
    rounds, place = divmod(place, len(PALETTE))
    line = f"–{'·' * (rounds - 1) or ' '}–" if rounds else "——"
    return f"{GLYPHS[place]}{line}"


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
    interval: FloatArray | None = None  # low and high ends, NaN where there is none; None: the spread
    seeds_by_epoch: str = ""  # `1-4: 3, 5-6: 2` where runs ended early, else nothing
    is_behind: bool = False  # of many arms: only its mean is drawn, faint; its numbers are in report.json like all

    def mean(self) -> FloatArray:
        """Over the seeds that have a value at x."""
        return self._over_seeds(np.nanmean)

    def spread(self) -> FloatArray:
        """Standard deviation over seeds (n - 1); NaN where fewer than two seeds have a value."""
        return self._over_seeds(np.nanstd, ddof=1)

    def band(self) -> FloatArray:
        """Low and high ends of what is shaded: the interval, or else mean -+ spread."""
        return self.mean() + np.outer([-1, 1], self.spread()) if self.interval is None else self.interval

    def as_json(self) -> dict[str, Any]:
        """All numbers of the line."""
        low, high = self.band()
        numbers = {"x": self.x, "mean": self.mean(), "standard_deviation": self.spread(), "band_low": low, "band_high": high}
        return {
            "arm": self.label,
            "num_seeds": len(self.by_seed),
            **_plain(numbers),
            "seeds": _plain(self.by_seed),
            "unfinished": _plain(self.unfinished),
        }

    def _over_seeds(self, reduce: Any, **options: int) -> FloatArray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # an empty column is a missing value, not a mistake
            return np.asarray(reduce(np.stack(list(self.by_seed.values())), axis=0, **options))


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One set of axes."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    behind: tuple[Line, ...] = ()  # other arms: only the mean is drawn, faint; their numbers stand where they are `lines`
    is_share: bool = False  # y is a share in [0, 1], drawn in percent
    baseline: float | None = None  # mean accuracy of the vanilla model, a dashed line
    band: str = BAND  # what is shaded
    y_range: tuple[float, float] | None = None  # where the axis begins and ends, in the units of y; None: where the lines do

    @property
    def in_front(self) -> tuple[Line, ...]:
        """The lines in colour."""
        return tuple(line for line in self.lines if not line.is_behind)

    @property
    def scale(self) -> float:
        """By what y is multiplied when it is drawn."""
        return 100.0 if self.is_share else 1.0

    def values(self) -> FloatArray:
        """All values of single runs, in no order."""
        values = np.concatenate([run for line in self.lines for run in (*line.by_seed.values(), *line.unfinished.values())])
        return np.asarray(values[~np.isnan(values)])

    def as_json(self) -> dict[str, Any]:
        """All numbers of the panel."""
        return {
            "title": self.title,
            "x": self.x_label,
            "y": self.y_label,
            "band": self.band,
            "vanilla": finite(self.baseline),
            "lines": [line.as_json() for line in self.lines],
        }


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Panels that belong together, as the paper groups them."""

    name: str  # of its files
    title: str
    caption: str
    panels: tuple[Panel, ...]
    num_columns: int


def figure_of(name: str, panels: Iterable[Panel], *, num_columns: int = 4, **values: Any) -> Figure:
    """The figure that words/figures.toml declares under a name, of the panels that show anything; `values` fill its words."""
    declared = words("figures")[name]
    shown = tuple(panel for panel in panels if panel.lines)
    how_to_read = paragraph(say_named("figures.how_to_read", band=shown[0].band if shown else BAND), *_early_ends(shown))
    return Figure(
        name=name,
        title=phrase_of(declared["title"], values),
        caption=sentences_of(declared["caption"], values | {"how_to_read": how_to_read}),
        panels=shown,
        num_columns=num_columns,
    )


def _early_ends(panels: Iterable[Panel]) -> Iterator[Phrase]:
    """Over how many seeds the means of arms are, where runs of theirs ended early."""
    counts = {line.label: line.seeds_by_epoch for panel in panels for line in panel.lines if line.seeds_by_epoch}
    if counts:
        yield say_named("early_ends.counts", counts="; ".join(f"{label} {of_arm}" for label, of_arm in counts.items()))


def _plain(arrays: Mapping[Any, FloatArray]) -> dict[str, list[float | None]]:
    return {str(name): [finite(value) for value in values.tolist()] for name, values in arrays.items()}
