"""Draws panels: one SVG for each panel of the page, one PNG and PDF for each figure. Knows nothing of runs."""

import html
import io
import json
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vlm_rl.reports.figures.marks import FAINT, INK, MARKER_SIZE, Band, Bounds, bounds_of, marks_of
from vlm_rl.reports.figures.panels import PALETTE, Figure, Line, Panel, glyph_of, style_of, variable_of
from vlm_rl.reports.figures.svg_marks import Place, marks_svg
from vlm_rl.reports.first_page.forest import Forest
from vlm_rl.reports.memory import recall
from vlm_rl.reports.phrase import say

STYLE = Path(__file__).with_name("report.mplstyle")
DASHED: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 3)), "linewidth": 0.9}  # what the arms are held against
PANEL_WIDTH, PANEL_HEIGHT = 3.6, 2.5  # inches, as all below
LONGEST_TITLE = 38  # characters of a line; a label of an arm may hold all its overrides
LEGEND_ROW, LEGEND_CHARACTER, LEGEND_HANDLE = 0.2, 0.07, 0.65
FOREST_WIDTH, FOREST_ROW = 7.2, 0.55
UNDATED = {"CreationDate": None, "Software": None}  # the same report is written in the same bytes
BARE = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # an SVG says nothing of itself


@contextmanager
def figure_style() -> Iterator[None]:
    """Inside, matplotlib draws as all figures of a report are drawn."""
    with rc_context(fname=STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a browser finds the letters of its reader
        yield


def panel_svg(panel: Panel, *, name: str = "panel", translate: Callable[[str], str] = str) -> str:
    """One panel as SVG for inlining: text stays text, colours are those of the page, ids begin with `name`."""
    title, x_label, y_label = map(translate, (panel.title, panel.x_label, panel.y_label))
    empty = replace(panel, title=title, x_label=x_label, y_label=y_label, lines=(), behind=())
    marks = [*marks_of(panel)]
    bounds = bounds_of(marks)
    svg, place = recall("axes", empty, bounds, make=lambda: _axes_svg(empty, bounds=bounds))
    svg = CURVES.sub(lambda found: f'<g clip-path="{found[1]}">\n{marks_svg(marks, place=place)}\n</g>', svg, count=1)
    svg = with_own_ids(svg, name=name).replace(INK, "currentColor")
    for number, color in enumerate(PALETTE):
        svg = svg.replace(color, f"var(--arm-{number})")
    shown = curves_of(replace(panel, x_label=x_label), place=place, translate=translate)
    curves = json.dumps(shown, separators=(",", ":"), allow_nan=False)
    return svg.replace("<svg ", f'<svg data-curves="{html.escape(curves)}" ', 1)


@figure_style()
def _axes_svg(panel: Panel, *, bounds: Bounds | None) -> tuple[str, Place]:
    """The axes of a panel, with a group to put its curves into, and where they lie."""
    canvas, buffer = Canvas(figsize=(PANEL_WIDTH, PANEL_HEIGHT)), io.StringIO()
    axes = canvas.subplots()
    if bounds is not None:
        axes.update_datalim(bounds)
    _draw_baseline(axes, panel=panel)
    axes.plot([0, 1], [0, 1], transform=axes.transAxes, gid="curves")
    axes.autoscale_view()
    _draw_axes(axes, panel=panel)
    canvas.savefig(buffer, format="svg", transparent=True, metadata=BARE)
    inside = axes.get_position()
    width, height = 72 * PANEL_WIDTH, 72 * PANEL_HEIGHT
    box = (inside.x0 * width, (1 - inside.y1) * height, inside.x1 * width, (1 - inside.y0) * height)
    return compact_svg(buffer.getvalue()), Place(box=box, x=axes.get_xlim(), y=axes.get_ylim())


def curves_of(panel: Panel, *, place: Place, translate: Callable[[str], str]) -> dict[str, Any]:
    """What page.js shows under the pointer: the means, and where the drawn axes lie in the picture, in points from its top left."""
    shared = list(dict.fromkeys(tuple(line.x.tolist()) for line in panel.in_front))
    lines = [
        {
            "arm": translate(line.label),
            "color": variable_of(line.color),
            "glyph": glyph_of(line.color),
            "at": shared.index(tuple(line.x.tolist())),
            "y": [None if math.isnan(y) else float(f"{panel.scale * y:.4g}") for y in line.mean()],
        }
        for line in panel.in_front
    ]
    ends = [round(end, 6) for end in place.x]
    return {"axis": panel.x_label, "box": [round(end, 1) for end in place.box], "x": ends, "at": shared, "lines": lines}


@figure_style()
def write_figure(figure: Figure, *, folder: Path) -> list[Path]:
    """The figure as `<name>.png` and `<name>.pdf`, with its legend. Scripts that the style's fonts lack come out as boxes."""
    handles = [Line2D([], [], **style_of(line.color), markersize=4, label=legend_label(line)) for line in legend_lines(figure)]
    if any(panel.baseline is not None for panel in figure.panels):
        handles.append(Line2D([], [], **DASHED, label=say("Vanilla (before training)")))
    if any(line.is_behind for panel in figure.panels for line in panel.lines):
        faint = {"color": INK, "linewidth": FAINT["width"], "alpha": FAINT["alpha"]}
        handles.append(Line2D([], [], **faint, label=say("other arms")))
    columns = min(figure.num_columns, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    longest = max(len(str(handle.get_label())) for handle in handles)
    fitting = int(PANEL_WIDTH * columns / (LEGEND_HANDLE + LEGEND_CHARACTER * longest))
    side_by_side = max(1, min(columns + 1, len(handles), fitting))
    legend_height = LEGEND_ROW * (1 + -(-len(handles) // side_by_side))
    canvas = Canvas(figsize=(PANEL_WIDTH * columns, PANEL_HEIGHT * rows + legend_height))
    grid = canvas.subplots(rows, columns, squeeze=False).flat
    for axes, panel in zip(grid, figure.panels, strict=False):
        draw_panel(axes, panel=panel)
    for axes in grid[len(figure.panels) :]:
        axes.set_axis_off()
    canvas.legend(handles=handles, loc="outside lower center", ncols=side_by_side)
    paths = [folder / f"{figure.name}.{suffix}" for suffix in ("png", "pdf")]
    for path in paths:
        canvas.savefig(path, metadata=UNDATED)
        canvas.set_layout_engine("none")  # placed once, for both files
    return paths


@figure_style()
def write_forest(forest: Forest, *, folder: Path) -> list[Path]:
    """`verdicts_forest.png` and `.pdf`."""
    canvas = Canvas(figsize=(FOREST_WIDTH, 1.3 + FOREST_ROW * len(forest.rows)))
    axes = canvas.subplots()
    axes.axvspan(-100 * forest.delta, 100 * forest.delta, color=INK, alpha=0.08, linewidth=0)
    axes.axvline(0, **DASHED, alpha=0.7)
    for place, row in enumerate(forest.rows):
        style, seeds = style_of(row.color), 100 * np.array(row.seeds)
        color, below = style["color"], np.full_like(seeds, place + 0.25)
        if row.has_interval:
            axes.plot([100 * row.low, 100 * row.high], [place, place], color=color, linewidth=3, alpha=0.5)
        axes.plot([100 * row.estimate], [place], color=color, marker=style["marker"], markersize=8)
        axes.plot(seeds, below, color=color, marker="o", markersize=3, linestyle="", fillstyle="none")
    axes.set_yticks(range(len(forest.rows)), [f"{row.label}\n{row.text} ({row.detail})" for row in forest.rows])
    axes.set_ylim(len(forest.rows) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_title(forest.title)
    axes.set_xlabel("points of accuracy; bar: 95 % interval; circles: seeds; grey: too small to matter")
    paths = [folder / f"verdicts_forest.{suffix}" for suffix in ("png", "pdf")]
    for path in paths:
        canvas.savefig(path, metadata=UNDATED)
    return paths


def legend_label(line: Line) -> str:
    """`reinforce_pp, n = 3 seeds`."""
    if len(line.by_seed) == 1:
        return say("{arm}, n = 1 seed", arm=line.label)
    return say("{arm}, n = {num_seeds} seeds", arm=line.label, num_seeds=len(line.by_seed))


def legend_lines(figure: Figure) -> list[Line]:
    """One line for each arm that the figure shows in colour, that of its first panel with the arm, in the order of arms."""
    lines = {line.color: line for panel in reversed(figure.panels) for line in panel.in_front}
    return [lines[color] for color in sorted(lines)]


def draw_panel(axes: Axes, *, panel: Panel) -> None:
    """Draw every arm of a panel on axes, those behind first."""
    marks = [*marks_of(panel)]
    if (bounds := bounds_of(marks)) is not None:
        axes.update_datalim(bounds)
    _draw_baseline(axes, panel=panel)
    for mark in marks:
        if isinstance(mark, Band):
            axes.fill_between(mark.x, mark.low, mark.high, color=mark.color, alpha=mark.alpha, linewidth=0)
        else:
            line = (0.0, mark.dashes) if mark.dashes else "-"
            style: dict[str, Any] = {"color": mark.color, "linewidth": mark.width, "alpha": mark.alpha, "linestyle": line}
            axes.plot(mark.x, mark.y, **style, marker=mark.marker, markersize=MARKER_SIZE)
    _draw_axes(axes, panel=panel)


def _draw_baseline(axes: Axes, *, panel: Panel) -> None:
    if panel.baseline is not None:
        axes.axhline(panel.scale * panel.baseline, **DASHED, alpha=0.7)


def _draw_axes(axes: Axes, *, panel: Panel) -> None:
    """Words, ticks and, where a panel has one of its own, the range of y."""
    axes.set_title(textwrap.fill(panel.title, LONGEST_TITLE))
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if panel.y_range is not None:
        axes.set_ylim(*(panel.scale * end for end in panel.y_range))


CURVES = re.compile(r'<g id="curves">\s*<path [^>]*clip-path="([^"]*)"[^>]*/>\s*</g>')
ID = re.compile(r'(?<= id=")[^"]*')
REFERENCE = re.compile(r'( id="|="#|="url\(#)([^")]*)("|\))')
GROUP_NAME = re.compile(r'<g id="(?!curves")[^"]*"')  # nothing refers to a group
PATH = re.compile(r'(?<=\sd=")[^"]*')
CURVE = re.compile(r"(?![MLz])[A-Za-z]")
PLACE = re.compile(r'(?<=\s)(x|y|width|height)="(-?\d+\.\d{2,})"')


def compact_svg(svg: str) -> str:
    """The same picture to a tenth of a point, without what only an editor would read."""
    svg = GROUP_NAME.sub("<g", svg[svg.index("<svg") :])
    svg = PLACE.sub(lambda found: f'{found[1]}="{float(found[2]):.1f}"', svg)
    return PATH.sub(lambda found: _compact_path(found[0]), svg)


def with_own_ids(svg: str, *, name: str) -> str:
    """The same picture with ids `<name>-0`, `<name>-1`, ...: matplotlib gives equal parts of two pictures one id."""
    places = {found: f"{name}-{place}" for place, found in enumerate(dict.fromkeys(ID.findall(svg)))}
    return REFERENCE.sub(lambda found: f"{found[1]}{places[found[2]]}{found[3]}", svg)


def _compact_path(path: str) -> str:
    """Straight lines as relative moves; a path with curves, as a marker, is short and loses its line breaks only."""
    return " ".join(path.split()) if CURVE.search(path) else "".join(map(_compact_stroke, path.split("M")[1:]))


def _compact_stroke(stroke: str) -> str:
    """Straight lines from an M on, in tenths of a point that are rounded before they are subtracted, so that no error adds up."""
    tenths = np.rint(10 * np.array(stroke.replace("L", " ").replace("z", " ").split(), dtype=np.float64).reshape(-1, 2))
    moves = [f"{tenth / 10:g}" for tenth in np.diff(tenths, axis=0, prepend=0.0).astype(int).ravel()]
    start, rest = " ".join(moves[:2]), " ".join(moves[2:])
    written = f"M{start}" + f"l{rest}" * bool(rest) + "z" * stroke.rstrip().endswith("z")
    return written.replace(" -", "-").replace(" 0.", " .").replace("-0.", "-.")
