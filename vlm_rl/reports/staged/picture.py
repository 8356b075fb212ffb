"""The picture that statisticians know: the statistic of each look against its boundary, by information."""

import io
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure as Canvas

from vlm_rl.evaluation.sequential.looks import Look
from vlm_rl.reports.figures.drawing import BARE, DASHED, compact_svg, figure_style, with_own_ids
from vlm_rl.reports.figures.marks import INK
from vlm_rl.reports.figures.panels import PALETTE
from vlm_rl.reports.phrase import say

WIDTH, HEIGHT = 6.4, 3.2  # inches


@figure_style()
def boundary_svg(looks: Sequence[Look], *, name: str, translate: Callable[[str], str]) -> str:
    """As SVG for inlining; colours are those of the page, ids begin with `name`."""
    canvas, buffer = Canvas(figsize=(WIDTH, HEIGHT)), io.StringIO()
    axes = canvas.subplots()
    information = [look.information for look in looks]
    for sign in (1, -1):
        bounds = [sign * look.boundary for look in looks]
        axes.plot(information, bounds, marker="_", markersize=12, **DASHED)
    axes.plot(information, [look.statistic for look in looks], color=PALETTE[0], marker="o", linewidth=1.4)
    for look in looks:
        text = translate(say("{seeds} seeds", seeds=look.seeds))
        axes.annotate(text, (look.information, look.statistic), textcoords="offset points", xytext=(6, 6), fontsize=8)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_xlim(0, 1.08)
    axes.set_xlabel(translate(say("Information, as a share of that of all planned seeds")))
    axes.set_ylabel(translate(say("Statistic (standard errors)")))
    canvas.savefig(buffer, format="svg", transparent=True, metadata=BARE)
    svg = with_own_ids(compact_svg(buffer.getvalue()), name=name).replace(INK, "currentColor")
    return svg.replace(PALETTE[0], "var(--arm-0)")
