"""What a picture shows, before anything is drawn: named axes, and for each arm every seed, the mean and the spread."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from vlm_rl.evaluation.bootstrap import QuestionCounts, bootstrap_means, resample, resample_images
from vlm_rl.reports.phrase import Phrase, phrase_of, say, say_named, sentences_of, words
from vlm_rl.reports.reading.evaluations import Evaluation
from vlm_rl.reports.tables.table import finite

PALETTE = ("#414899", "#ec5022", "#537e75", "#c95eb3", "#7d541a", "#2a8eef", "#2a1363", "#581d0e")  # on white
DARK_PALETTE = ("#457cfd", "#e26b1b", "#88ba87", "#d38dd9", "#dcd838", "#88e0f7", "#805f95", "#f4fed9")  # in dark mode
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # arms are told apart in black and white too
GLYPHS = "●■▲◆▼✚✖★"  # the markers as text
LONG_DASH, DOT = (7.0, 2.0), (1.5, 2.0)  # ink and gap, in line widths

Dashes = str | tuple[float, tuple[float, ...]]  # a line style of matplotlib


def color_of(place: int) -> str:
    """In figures; on the page the variable --arm-0, --arm-1, ... of `variable_of`."""
    return PALETTE[place % len(PALETTE)]


def variable_of(place: int) -> int:
    """Which of the page's colours an arm has."""
    return place % len(PALETTE)


def marker_of(place: int) -> str:
    """The marker of the arm's points."""
    return MARKERS[place % len(MARKERS)]


def line_of(place: int) -> Dashes:
    """Solid for the first arms, then long dashes, then a dot more between them each time the colours are used up."""
    rounds = place // len(PALETTE)
    return (0.0, LONG_DASH + DOT * (rounds - 1)) if rounds else "-"


def glyph_of(place: int) -> str:
    """Marker and line as text, for a legend: `●——`, for the ninth arm `●– –`."""
    rounds = place // len(PALETTE)
    line = f"–{'·' * (rounds - 1) or ' '}–" if rounds else "——"
    return f"{GLYPHS[place % len(GLYPHS)]}{line}"


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


NUM_DRAWS = 1000  # a picture cannot show what more would add
STREAM = 7  # key of the generator: a report drawn twice is the same
TWO_WAY = say("95 % pigeonhole bootstrap over seeds and images")


def accuracy_band(points: Sequence[Sequence[Evaluation | None]]) -> tuple[FloatArray, FloatArray]:
    """Ends of the band at each point from the evaluations of all seeds there; NaN where a seed has none.

    NaN everywhere if not all answered the same questions: the bootstrap of crossed rows and columns does not speak of that.
    """
    ends = np.full((2, len(points)), np.nan)
    whole = [place for place, row in enumerate(points) if None not in row]
    evaluations = [[evaluation for evaluation in points[place] if evaluation is not None] for place in whole]
    questions = {evaluation.questions.asked: evaluation.questions for row in evaluations for evaluation in row}
    if len(questions) == 1:
        scores = np.array([[evaluation.scores() for evaluation in row] for row in evaluations])
        ends[:, whole] = pigeonhole_band(scores, images=next(iter(questions.values())).images())
    return ends[0], ends[1]


def pigeonhole_band(
    scores: Float[np.ndarray, "points seeds questions"], *, images: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """95 % percentile ends at each point; NaN with a single seed."""
    num_points, num_seeds, _ = scores.shape
    if num_seeds < 2:
        return np.full(num_points, np.nan), np.full(num_points, np.nan)
    seeds = resample(num_seeds, generator=_generator(num_seeds), num_draws=NUM_DRAWS)
    draws = bootstrap_means(scores, seeds=seeds, questions=_drawn_questions(tuple(images)))
    low, high = np.quantile(draws, [0.025, 0.975], axis=-1)
    return low, high


@lru_cache(maxsize=4)
def _drawn_questions(images: tuple[str, ...]) -> QuestionCounts:
    return resample_images(images, generator=_generator(0), num_draws=NUM_DRAWS)


def _generator(purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[STREAM, purpose]))
