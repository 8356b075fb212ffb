"""What is drawn in a panel and in which style, before anybody draws it: matplotlib for PNG and PDF, svg_marks.py for the page."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm_rl.reports.figures.panels import FloatArray, Line, Panel, style_of

INK = "#1b1f24"  # as in the style file; `currentColor` on the page, so that dark mode needs no second picture
FAINT: Mapping[str, Any] = {"color": INK, "width": 0.9, "alpha": 0.28}  # other arms
MOST_MARKED_POINTS = 20  # more points than this are a curve, fewer are shown one by one
MOST_CLEAR_ARMS = 4  # in one panel; the runs of more are a thicket
MEAN_WIDTH, MARKER_SIZE = 1.6, 3.2  # points
FEW_STEPS = 15
DOTTED = (1.0, 2.0)  # ink and gap, in line widths


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line, broken where a value is missing."""

    x: FloatArray
    y: FloatArray
    color: str
    width: float  # points
    alpha: float = 1.0
    dashes: tuple[float, ...] = ()  # ink and gap, in line widths; none: solid
    marker: str = ""  # of each point, as matplotlib names it


@dataclass(frozen=True, kw_only=True)
class Band:
    """What lies between two lines."""

    x: FloatArray
    low: FloatArray
    high: FloatArray
    color: str
    alpha: float


Mark = Curve | Band
Bounds = tuple[tuple[float, float], tuple[float, float]]  # the lowest and the highest (x, y)


def marks_of(panel: Panel) -> Iterator[Mark]:
    """In the order of drawing: bands below all lines, the arms behind before those in front, the means above the runs of all arms."""
    for line in panel.in_front:
        yield from _bands(line, panel=panel)
    for line in (*panel.behind, *(line for line in panel.lines if line.is_behind)):
        yield Curve(x=line.x, y=panel.scale * line.mean(), **FAINT)
    for line in panel.in_front:
        yield from _runs(line, panel=panel)
    for line in panel.in_front:
        mean = panel.scale * line.mean()
        known = ~np.isnan(mean)
        color, style = _color(line), style_of(line.color)
        marker = style["marker"] if known.sum() <= MOST_MARKED_POINTS else ""
        dashes = () if style["linestyle"] == "-" else style["linestyle"][1]
        yield Curve(x=line.x[known], y=mean[known], color=color, width=MEAN_WIDTH, dashes=dashes, marker=marker)


def _color(line: Line) -> str:
    return str(style_of(line.color)["color"])


def _ends(line: Line, *, panel: Panel) -> FloatArray:
    """Low and high ends of the band; none where a share cannot be."""
    band = panel.scale * line.band()
    return np.clip(band, 0, 100) if panel.is_share else band


def _bands(line: Line, *, panel: Panel) -> Iterator[Band]:
    if len(line.by_seed) > 1:
        low, high = _ends(line, panel=panel)
        alpha = 0.07 if len(panel.in_front) > MOST_CLEAR_ARMS else 0.13
        yield Band(x=line.x, low=low, high=high, color=_color(line), alpha=alpha)


def _runs(line: Line, *, panel: Panel) -> Iterator[Curve]:
    """Single runs, fainter where many arms lie over each other."""
    color, alpha = _color(line), 0.2 if len(panel.in_front) > MOST_CLEAR_ARMS else 0.45
    if len(line.by_seed) > 1:
        if line.x.size == 1 and line.interval is not None:
            ends = _ends(line, panel=panel).ravel()
            yield Curve(x=np.repeat(line.x, 2), y=ends, color=color, width=3.0, alpha=0.45)
        for values in line.by_seed.values():
            yield Curve(x=line.x, y=panel.scale * values, color=color, width=0.6, alpha=alpha)
    for values in line.unfinished.values():
        yield Curve(x=line.x, y=panel.scale * values, color=color, width=1.1, alpha=0.9, dashes=DOTTED)


def bounds_of(marks: Sequence[Mark]) -> Bounds | None:
    """Of all that is drawn; None where nothing has a value."""
    places = [place for mark in marks for place in _places(mark)]
    x, y = (np.concatenate([place[axis] for place in places]) if places else np.empty(0) for axis in (0, 1))
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return None
    x, y = x[known], y[known]
    return (float(x.min()), float(y.min())), (_round_end(float(x.max())), float(y.max()))


def _round_end(end: float) -> float:
    """Where an axis of many steps ends: at a round number, at most a fifteenth further, so that it stays as runs go on."""
    if end <= FEW_STEPS:
        return end
    power = 10.0 ** math.floor(math.log10(end / FEW_STEPS))
    unit = max(power * round_one for round_one in (1, 2, 5) if power * round_one <= end / FEW_STEPS)
    return unit * math.ceil(end / unit - 1e-9)


def _places(mark: Mark) -> list[tuple[FloatArray, FloatArray]]:
    return [(mark.x, mark.y)] if isinstance(mark, Curve) else [(mark.x, mark.low), (mark.x, mark.high)]
