"""Draws panels: one SVG for each panel of the page, one PNG and PDF for each figure. Knows nothing of runs."""

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vlm_rl.reports.figures.panels import PALETTE, Figure, Line, Panel, color_of, line_of, marker_of
from vlm_rl.reports.first_page.forest import Forest
from vlm_rl.reports.phrase import say

STYLE = Path(__file__).with_name("report.mplstyle")
INK = "#1b1f24"  # as in the style file; `currentColor` on the page, so that dark mode needs no second picture
BEHIND: dict[str, Any] = {"color": INK, "linewidth": 0.9, "alpha": 0.28}  # other arms, behind the one that a panel is about
MOST_MARKED_POINTS = 20  # more points than this are a curve, fewer are shown one by one
MOST_CLEAR_ARMS = 4  # in one panel; the runs of more are a thicket
PANEL_INCHES = (3.6, 2.5)
LONGEST_TITLE = 38  # characters of a line; a label of an arm may hold all its overrides
LEGEND_ROW_INCHES = 0.2
LEGEND_INCHES = (0.07, 0.65)  # of a character, and of what stands before a label


def as_is(text: str) -> str:
    """English stays English."""
    return text


def panel_svg(panel: Panel, *, translate: Callable[[str], str] = as_is) -> str:
    """One panel as SVG for inlining: text stays text, colours are those of the page."""
    with figure_style():
        canvas, axes = plt.subplots(figsize=PANEL_INCHES)
        draw_panel(axes, panel=panel, translate=translate)
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        plt.close(canvas)
    svg = compact_svg(buffer.getvalue()).replace(INK, "currentColor")
    for place, color in enumerate(PALETTE):
        svg = svg.replace(color, f"var(--arm-{place})")
    return svg


def write_figure(figure: Figure, *, folder: Path, translate: Callable[[str], str] = as_is) -> list[Path]:
    """The figure as `<name>.png` and `<name>.pdf`, with its legend. Scripts that the style's fonts lack come out as boxes."""
    columns = min(figure.num_columns, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    paths = [folder / f"{figure.name}.{suffix}" for suffix in ("png", "pdf")]
    with figure_style():
        handles, width = _legend(figure, translate=translate), PANEL_INCHES[0] * columns
        side_by_side = min(columns + 1, _fitting([str(handle.get_label()) for handle in handles], width=width))
        size = (width, PANEL_INCHES[1] * rows + LEGEND_ROW_INCHES * (1 + -(-len(handles) // side_by_side)))
        canvas, grid = plt.subplots(rows, columns, figsize=size, squeeze=False)
        for axes, panel in zip(grid.flat, figure.panels, strict=False):
            draw_panel(axes, panel=panel, translate=translate)
        for axes in grid.flat[len(figure.panels) :]:
            axes.set_axis_off()
        canvas.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), side_by_side))
        for path in paths:
            canvas.savefig(path, metadata={"CreationDate": None} if path.suffix == ".pdf" else {"Software": None})
            canvas.set_layout_engine("none")  # placed once, for both files
        plt.close(canvas)
    return paths


def draw_panel(axes: Axes, *, panel: Panel, translate: Callable[[str], str] = as_is) -> None:
    """Draw every arm of a panel on axes."""
    scale = 100.0 if panel.is_share else 1.0  # shares are drawn in percent
    if panel.baseline is not None:
        axes.axhline(scale * panel.baseline, color=INK, linestyle=(0, (4, 3)), linewidth=0.9, alpha=0.7)
    for line in panel.behind:
        axes.plot(line.x, scale * line.mean(), **BEHIND)
    for line in panel.lines:
        _draw_runs(axes, line=line, scale=scale, is_share=panel.is_share, is_crowded=len(panel.lines) > MOST_CLEAR_ARMS)
    for line in panel.lines:  # above the runs of all arms
        _draw_mean(axes, line=line, scale=scale)
    axes.set_title(textwrap.fill(translate(panel.title), LONGEST_TITLE))
    axes.set_xlabel(translate(panel.x_label))
    axes.set_ylabel(translate(panel.y_label))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if panel.y_range is not None:
        axes.set_ylim(*(scale * end for end in panel.y_range))


def legend_label(line: Line) -> str:
    """`reinforce_pp, n = 3 seeds`."""
    num_seeds = len(line.by_seed)
    if num_seeds == 1:
        return say("{arm}, n = 1 seed", arm=line.label)
    return say("{arm}, n = {num_seeds} seeds", arm=line.label, num_seeds=num_seeds)


def legend_lines(figure: Figure) -> list[Line]:
    """One line for each arm that the figure shows, with the most seeds that any panel has for it."""
    lines: dict[int, Line] = {}
    for line in (line for panel in figure.panels for line in panel.lines):
        lines.setdefault(line.color, line)
    return [lines[color] for color in sorted(lines)]


def _legend(figure: Figure, *, translate: Callable[[str], str]) -> list[Line2D]:
    handles = [
        Line2D([], [], **_style(line), markersize=4, label=translate(legend_label(line))) for line in legend_lines(figure)
    ]
    if any(panel.baseline is not None for panel in figure.panels):
        untrained = translate(say("Vanilla (untrained)"))
        handles.append(Line2D([], [], color=INK, linestyle=(0, (4, 3)), linewidth=0.9, label=untrained))
    return handles


def _fitting(labels: Sequence[str], *, width: float) -> int:
    """How many labels stand side by side in so many inches; at least one."""
    of_character, before = LEGEND_INCHES
    return max(1, int(width / (before + of_character * max(map(len, labels), default=0))))


def _draw_runs(axes: Axes, *, line: Line, scale: float, is_share: bool, is_crowded: bool) -> None:
    """Band and single runs, fainter where many arms lie over each other."""
    color = color_of(line.color)
    seed_alpha, band_alpha = (0.2, 0.07) if is_crowded else (0.45, 0.13)
    if len(line.by_seed) > 1:
        low, high = (scale * end for end in line.band())
        if is_share:  # no band where a share cannot be
            low, high = np.clip(low, 0, 100), np.clip(high, 0, 100)
        axes.fill_between(line.x, low, high, color=color, alpha=band_alpha, linewidth=0)
        for values in line.by_seed.values():
            axes.plot(line.x, scale * values, color=color, linewidth=0.6, alpha=seed_alpha)
    for values in line.unfinished.values():
        axes.plot(line.x, scale * values, color=color, linewidth=1.1, alpha=0.9, linestyle=(0, (1, 2)))


def _draw_mean(axes: Axes, *, line: Line, scale: float) -> None:
    mean = scale * line.mean()
    known = ~np.isnan(mean)
    unmarked = {} if known.sum() <= MOST_MARKED_POINTS else {"marker": ""}
    axes.plot(line.x[known], mean[known], **_style(line) | unmarked, markersize=3.2)


def _style(line: Line) -> dict[str, Any]:
    return {"color": color_of(line.color), "marker": marker_of(line.color), "linestyle": line_of(line.color)}


@contextmanager
def figure_style() -> Iterator[None]:
    """Inside, matplotlib draws as all figures of a report are drawn."""
    with rc_context(fname=STYLE), plt.ioff(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a browser finds the letters of its reader
        yield


NAME = "verdicts_forest"
WIDTH, ROW_HEIGHT = 7.2, 0.55  # inches


def write_forest(forest: Forest, *, folder: Path) -> list[Path]:
    """`verdicts_forest.png` and `.pdf`."""
    paths = [folder / f"{NAME}.{suffix}" for suffix in ("png", "pdf")]
    with figure_style():
        canvas, axes = plt.subplots(figsize=(WIDTH, 1.3 + ROW_HEIGHT * len(forest.rows)))
        _draw(axes, forest=forest)
        for path in paths:
            canvas.savefig(path, metadata={"CreationDate": None} if path.suffix == ".pdf" else {"Software": None})
        plt.close(canvas)
    return paths


def _draw(axes: Axes, *, forest: Forest) -> None:
    axes.axvspan(-100 * forest.delta, 100 * forest.delta, color=INK, alpha=0.08, linewidth=0)
    axes.axvline(0, color=INK, linestyle=(0, (4, 3)), linewidth=0.9, alpha=0.7)
    for place, row in enumerate(forest.rows):
        color, marker = color_of(row.color), marker_of(row.color)
        if row.has_interval:
            axes.plot([100 * row.low, 100 * row.high], [place, place], color=color, linewidth=3, alpha=0.5)
        axes.plot([100 * row.estimate], [place], color=color, marker=marker, markersize=8)
        seeds = 100 * np.array(row.seeds)
        axes.plot(
            seeds, np.full_like(seeds, place + 0.25), color=color, marker="o", markersize=3, linestyle="", fillstyle="none"
        )
    axes.set_yticks(range(len(forest.rows)), [f"{row.label}\n{row.text} ({row.detail})" for row in forest.rows])
    axes.set_ylim(len(forest.rows) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.set_title(forest.title)
    axes.set_xlabel("points of accuracy; bar: 95 % interval; circles: seeds; grey: too small to matter")


METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
GROUP_NAME = re.compile(r'<g id="[^"]*"')  # nothing refers to a group
PATH = re.compile(r'(?<=\sd=")[^"]*')
LETTER = re.compile(r"[A-Za-z]")
PLACE = re.compile(r'(?<=\s)(x|y|width|height)="(-?\d+\.\d{2,})"')


def compact_svg(svg: str) -> str:
    """The same picture to a tenth of a point, without what only an editor would read."""
    svg = svg[svg.index("<svg") :]
    svg = GROUP_NAME.sub("<g", METADATA.sub("", svg))
    svg = PLACE.sub(lambda found: f'{found[1]}="{float(found[2]):.1f}"', svg)
    return PATH.sub(lambda found: _compact_path(found[0]), svg)


def _compact_path(path: str) -> str:
    """Straight lines as relative moves; a path with curves, as a marker, is short and loses its line breaks only."""
    if set(LETTER.findall(path)) - set("MLz"):
        return " ".join(path.split())
    return "".join(map(_compact_lines, path.split("M")[1:]))


def _compact_lines(lines: str) -> str:
    """One stroke from its M on, in tenths of a point that are rounded before they are subtracted, so that no error adds up."""
    tenths = np.rint(10 * np.array(lines.replace("L", " ").replace("z", " ").split(), dtype=np.float64).reshape(-1, 2))
    start, *moves = np.diff(tenths, axis=0, prepend=0.0).astype(int).reshape(-1, 2).tolist()
    return f"M{_written([start])}" + f"l{_written(moves)}" * bool(moves) + "z" * lines.rstrip().endswith("z")


def _written(pairs: Sequence[Sequence[int]]) -> str:
    return (
        " ".join(f"{tenth / 10:g}" for pair in pairs for tenth in pair)
        .replace(" -", "-")
        .replace(" 0.", " .")
        .replace("-0.", "-.")
    )
