"""Draws the marks of a panel as SVG, in tenths of a point, many times faster than matplotlib, which draws the axes around them."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D

from vlm_rl.reports.figures.marks import MARKER_SIZE, Band, Curve, Mark
from vlm_rl.reports.figures.panels import FloatArray

LETTERS = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C", Outline.CLOSEPOLY: "z"}
FURTHEST = 1e5  # points: what lies further outside of the axes is drawn at that distance, which nobody sees


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where drawn axes lie in the picture: (left, top, right, bottom) in points, and the values at their ends."""

    box: tuple[float, float, float, float]
    x: tuple[float, float]
    y: tuple[float, float]

    def points(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """(n, 2) in points from the top left of the picture."""
        left, top, right, bottom = self.box
        across = left + (x - self.x[0]) / (self.x[1] - self.x[0]) * (right - left)
        down = bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (bottom - top)
        return np.clip(np.stack([across, down], axis=1), -FURTHEST, FURTHEST)


def marks_svg(marks: Sequence[Mark], *, place: Place) -> str:
    """All marks; curves of one style that follow one another are one path."""
    parts: list[str] = []
    style, strokes = "", list[str]()
    for mark in marks:
        own = _style(mark)
        if own != style and strokes:
            parts.append(f'<path d="{"".join(strokes)}" style="{style}"/>')
            strokes = []
        style = own
        strokes += _areas(mark, place=place) if isinstance(mark, Band) else _lines(mark, place=place)
        if isinstance(mark, Curve) and mark.marker:
            parts.append(f'<path d="{"".join(strokes)}" style="{style}"/>')
            parts += _markers(mark, place=place)
            strokes = []
    if strokes:
        parts.append(f'<path d="{"".join(strokes)}" style="{style}"/>')
    return "\n".join(parts)


def _style(mark: Mark) -> str:
    if isinstance(mark, Band):
        return f"fill: {mark.color}; fill-opacity: {mark.alpha:g}"
    dashes = f"; stroke-dasharray: {','.join(f'{mark.width * dash:g}' for dash in mark.dashes)}" if mark.dashes else ""
    cap = "" if mark.dashes else "; stroke-linecap: round"
    opacity = "" if mark.alpha == 1 else f"; stroke-opacity: {mark.alpha:g}"
    return f"fill: none; stroke: {mark.color}; stroke-width: {mark.width:g}{opacity}{dashes}{cap}"


def _lines(curve: Curve, *, place: Place) -> Iterator[str]:
    points = place.points(curve.x, curve.y)
    for part in _known(points):
        yield _stroke(points[part])


def _areas(band: Band, *, place: Place) -> Iterator[str]:
    low, high = (place.points(band.x, side) for side in (band.low, band.high))
    for part in _known(np.concatenate([low, high], axis=1)):
        yield _stroke(np.concatenate([low[part], high[part][::-1]])) + "z"


def _known(points: FloatArray) -> list[slice]:
    """The runs of rows without a missing value."""
    known = np.isfinite(points).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    return [slice(begin, end) for begin, end in edges.reshape(-1, 2).tolist()]


def _stroke(points: FloatArray) -> str:
    """Relative moves in tenths of a point that are rounded before they are subtracted, so that no error adds up."""
    tenths = np.rint(10 * points).astype(int)
    moves = np.diff(tenths, axis=0, prepend=0).ravel().tolist()
    first, rest = " ".join(map(_tenth, moves[:2])), " ".join(map(_tenth, moves[2:]))
    return f"M{first}" + f"l{rest}".replace(" -", "-") * bool(rest)


@functools.lru_cache(maxsize=65536)
def _tenth(number: int) -> str:
    """`1.5`, `.5`, `-.5` of 15, 5, -5."""
    text = f"{number / 10:g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _markers(curve: Curve, *, place: Place) -> Iterator[str]:
    points = place.points(curve.x, curve.y)
    shown = np.rint(10 * points[np.isfinite(points).all(axis=1)]) / 10
    name = f"marker-{curve.color[1:]}"
    yield f'<defs><path id="{name}" d="{_outline(curve.marker)}"/></defs>'
    style = f"fill: {curve.color}; stroke: {curve.color}"
    yield from (f'<use xlink:href="#{name}" x="{x:g}" y="{y:g}" style="{style}"/>' for x, y in shown.tolist())


@functools.cache
def _outline(marker: str) -> str:
    """A marker around the origin, y downwards."""
    style = MarkerStyle(marker)
    path = style.get_path().transformed(style.get_transform() + Affine2D().scale(MARKER_SIZE, -MARKER_SIZE))
    parts = ((points, LETTERS[code]) for points, code in path.iter_segments(curves=True, simplify=False))
    return "".join(
        letter + ("" if letter == "z" else " ".join(f"{number:.4g}" for number in points)) for points, letter in parts
    )
