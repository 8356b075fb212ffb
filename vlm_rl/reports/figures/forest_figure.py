"""The forest as PNG and PDF, for other people's documents; on the page it is drawn by HTML, which fits a phone."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from vlm_rl.reports.figures.arm_styles import color_of, marker_of
from vlm_rl.reports.figures.drawing import INK, figure_style
from vlm_rl.reports.first_page.forest import Forest

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
