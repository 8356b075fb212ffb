"""The figures of micro_geometry, drawn with Pillow on a grid of 28-pixel cells.

A cell is the area of one merged image token of the tiny model (patch 14, merge 2). Every number is centred on a cell: then a
model of a million parameters learns to read it within minutes. It did not learn labels at free positions.
"""

import colorsys
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

CELL = 28  # pixels
COLUMNS, ROWS = 6, 4
LABEL_SIZE = 24  # pixels
SMOOTHING = 2  # lines are drawn this many times larger and scaled down
INK = (38, 50, 72)
PAPER = (255, 253, 247)
Point = tuple[float, float]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def cell(column: int, row: int) -> Point:
    """Centre of a cell in pixels."""
    return CELL * (column + 0.5), CELL * (row + 0.5)


class Canvas:
    """Shapes are drawn larger and scaled down; letters and numbers are added afterwards at their final size."""

    def __init__(self, *, hue: float) -> None:
        self.size = (CELL * COLUMNS, CELL * ROWS)
        self._large = Image.new("RGB", (self.size[0] * SMOOTHING, self.size[1] * SMOOTHING), PAPER)
        self._draw = ImageDraw.Draw(self._large)
        self._labels: list[tuple[Point, str, int, tuple[int, int, int]]] = []
        self.tint = self._colour(hue, lightness=0.90)
        self.tint_dark = self._colour(hue, lightness=0.82)
        self.accent = self._colour(hue, lightness=0.42)

    @staticmethod
    def _colour(hue: float, *, lightness: float) -> tuple[int, int, int]:
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.62)
        return round(red * 255), round(green * 255), round(blue * 255)

    @staticmethod
    def _scaled(points: tuple[Point, ...]) -> list[tuple[float, float]]:
        return [(x * SMOOTHING, y * SMOOTHING) for x, y in points]

    def line(self, *points: Point, width: float = 2.0) -> None:
        """A polyline in ink."""
        self._draw.line(self._scaled(points), fill=INK, width=round(width * SMOOTHING), joint="curve")

    def polygon(self, *points: Point) -> None:
        """A tinted shape with an ink outline."""
        self._draw.polygon(self._scaled(points), fill=self.tint)
        self.line(*points, points[0], points[1])

    def sector(self, centre: Point, radius: float, start: float, end: float, *, dark: bool) -> None:
        """A tinted sector; angles in degrees, counter-clockwise from the right."""
        (x, y), r = self._scaled((centre,))[0], radius * SMOOTHING
        fill = self.tint_dark if dark else self.tint
        self._draw.pieslice((x - r, y - r, x + r, y + r), -end, -start, fill=fill)

    def dot(self, centre: Point, radius: float = 3.2) -> None:
        """A point."""
        (x, y), r = self._scaled((centre,))[0], radius * SMOOTHING
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=INK)

    def label(self, centre: Point, text: str, *, size: int = LABEL_SIZE, accent: bool = False) -> None:
        """A letter or number centred on a point; an empty text draws nothing."""
        if text:
            self._labels.append((centre, text, size, self.accent if accent else INK))

    def image(self) -> Image.Image:
        """The finished picture, RGB, a whole number of cells wide and high."""
        picture = self._large.resize(self.size, Image.Resampling.LANCZOS)
        pen = ImageDraw.Draw(picture)
        for (x, y), text, size, colour in self._labels:
            left, top, right, bottom = pen.textbbox((0, 0), text, font=_font(size))
            pen.text((x - (left + right) / 2, y - (top + bottom) / 2), text, font=_font(size), fill=colour)
        return picture


def _segment(canvas: Canvas, points: str, bend: float, above: tuple[str, str], total: str) -> None:
    line = CELL * 3.0
    middle = cell(2 if bend < 0.5 else 3, 3)[0]
    left, right = cell(0, 3)[0], cell(5, 3)[0]
    canvas.line((left, line), (right, line), width=2.6)
    for x, name in zip((left, middle, right), points, strict=True):
        canvas.dot((x, line))
        canvas.label((x, line + CELL / 2 + 3), name, size=20)
    canvas.label(cell(1, 2), above[0], accent=above[0] == "?")
    canvas.label(cell(4, 2), above[1], accent=above[1] == "?")
    canvas.line((left, 38.0), (left, 30.0), (right, 30.0), (right, 38.0), width=1.4)
    canvas.label(cell(2, 0), total, accent=total == "?")


def _line_angles(canvas: Canvas, points: str, bend: float, first: str, second: str) -> None:
    vertex, radius = (CELL * 3.0, 104.0), 92.0
    right, left = 56 + 8 * bend, 116 + 8 * bend
    canvas.sector(vertex, 40.0, 0.0, 180.0, dark=False)
    canvas.sector(vertex, 40.0, right, left, dark=True)
    for angle in (right, left):
        tip = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        canvas.line(vertex, (vertex[0] + radius * tip[0], vertex[1] - radius * tip[1]))
    canvas.line((6, vertex[1]), (CELL * COLUMNS - 6, vertex[1]), width=2.6)
    canvas.dot(vertex)
    canvas.label(cell(1, 2), first)
    canvas.label(cell(4, 2), second)
    canvas.label((CELL * 3.0, CELL * 1.2), "x", accent=True)


def _triangle_angles(canvas: Canvas, points: str, bend: float, first: str, second: str) -> None:
    apex = (CELL * 3.0 + 16 * (bend - 0.5), 4.0)
    canvas.polygon((3.0, 109.0), (165.0, 109.0), apex)
    canvas.label(cell(1, 3), first)
    canvas.label(cell(4, 3), second)
    canvas.label((apex[0], CELL * 1.5), "x", accent=True)


def _rectangle_perimeter(canvas: Canvas, points: str, bend: float, first: str, second: str) -> None:
    bottom = 88.0 + 19 * bend
    canvas.polygon((34.0, 34.0), (160.0, 34.0), (160.0, bottom), (34.0, bottom))
    canvas.label(cell(3, 0), first)
    canvas.label(cell(0, 2), second)
    canvas.label((97.0, (34 + bottom) / 2), "?", accent=True)


DRAWINGS: dict[str, Callable[[Canvas, str, float, str, str], None]] = {
    "segment_sum": lambda canvas, points, bend, first, second: _segment(canvas, points, bend, (first, second), "?"),
    "segment_difference": lambda canvas, points, bend, first, second: _segment(canvas, points, bend, (second, "?"), first),
    "line_angles": _line_angles,
    "triangle_angles": _triangle_angles,
    "rectangle_perimeter": _rectangle_perimeter,
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure: an image source of `datasets.row`. Labels are empty where the numbers are in the question."""

    kind: str
    points: str
    labels: tuple[str, str]
    bend: float  # in [0, 1): moves a point, an apex or an edge a little
    hue: float  # in [0, 1)

    @property
    def key(self) -> str:
        """Hash of the drawing instructions."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """(168, 112): the grid of cells."""
        return CELL * COLUMNS, CELL * ROWS

    def load(self) -> Image.Image:
        """Draws the figure, RGB."""
        canvas = Canvas(hue=self.hue)
        DRAWINGS[self.kind](canvas, self.points, self.bend, *self.labels)
        return canvas.image()
