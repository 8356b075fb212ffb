"""What is written: SVG that is small and speaks the page's language and colours, PNG and PDF with their legends."""

import re
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

from vlm_rl.reports.figures.drawing import compact_svg, draw_panel, panel_svg, write_figure, write_forest
from vlm_rl.reports.figures.panels import Figure, Line, Panel
from vlm_rl.reports.first_page.forest import Forest, ForestRow
from vlm_rl.reports.phrase import say

LONG = "grpo (lr-1e-5,model.lora.rank-64,dataset.source.train_rows-224)"


def panel_of(
    *labels: str, seeds: int = 2, steps: int = 5, title: str = "Response length", y_range: tuple[float, float] | None = None
) -> Panel:
    generator, x = np.random.default_rng(0), np.arange(1.0, steps + 1)
    by_seed = [{seed: 100 + generator.normal(0, 6, steps) for seed in range(seeds)} for _ in labels]
    lines = tuple(
        Line(label=label, color=arm, x=x, by_seed=runs, unfinished={})
        for arm, (label, runs) in enumerate(zip(labels, by_seed, strict=True))
    )
    return Panel(title=title, x_label="generation steps", y_label="tokens", lines=lines, y_range=y_range)


def test_a_panel_of_twenty_runs_stays_small() -> None:
    svg = panel_svg(panel_of("a", "b", "c", "d", seeds=5, steps=150))
    assert len(svg) < 60_000
    ET.fromstring(svg)
    assert "var(--arm-3)" in svg and "currentColor" in svg and "metadata" not in svg


def test_compact_paths_draw_the_same_points_to_a_tenth_and_curves_keep_their_numbers() -> None:
    places = np.cumsum(np.random.default_rng(0).normal(0, 3, size=(400, 2)), axis=0) + 100
    path = "M " + " \nL ".join(f"{x:.6f} {y:.6f}" for x, y in places) + " \nz"
    svg = compact_svg(f'<?xml?><svg>\n<g id="a"><path d="{path}"/><path d="M 0 1.25 \nC 0.7 1.1 1 1 1 0 \nz\n"/></g></svg>')
    written, curve = re.findall(r'd="M([^"]*)z"', svg)
    numbers = [float(number) for number in re.findall(r"-?\d*\.?\d+", written)]
    np.testing.assert_allclose(np.cumsum(np.reshape(numbers, (-1, 2)), axis=0), places, atol=0.0501)  # no error adds up
    assert svg.startswith("<svg>\n<g><path d=") and curve == " 0 1.25 C 0.7 1.1 1 1 1 0 "


def test_a_panel_speaks_the_language_that_it_is_given_without_a_warning() -> None:
    japanese = {"Response length": "応答の長さ", "generation steps": "生成ステップ", "tokens": "トークン"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = panel_svg(panel_of("grpo"), translate=lambda text: japanese.get(text, text))
    assert all(text in svg for text in japanese.values())
    assert "generation steps" not in svg


def test_a_dollar_in_a_word_or_a_label_is_a_dollar(tmp_path: Path) -> None:
    panel = panel_of("grpo", title=r"“$\frac$”")
    assert r"$\frac$" in panel_svg(panel)
    row = ForestRow(label=r"$\frac$", color=0, estimate=0.1, low=0.0, high=0.2, seeds=(0.1,), text=say("x"), detail="")
    forest = Forest(title=say("t"), caption=say("c"), delta=0.02, rows=(row,))
    figure = Figure(name="f", title="t", caption="c", panels=(panel, panel, panel), num_columns=2)
    paths = [*write_figure(figure, folder=tmp_path), *write_forest(forest, folder=tmp_path)]
    assert [path.name for path in paths] == ["f.png", "f.pdf", "verdicts_forest.png", "verdicts_forest.pdf"]
    assert [path.read_bytes()[:4] for path in paths] == [b"\x89PNG", b"%PDF"] * 2


@pytest.mark.parametrize(("label", "rows"), [("grpo", 2), (LONG, 4)])
def test_long_names_take_rows_of_the_legend(label: str, rows: int, tmp_path: Path) -> None:
    """Three arms side by side, or below each other. A row of the legend is 0.2 inches, and one is space; 200 dots an inch."""
    panels = (panel_of(label, label, label),) * 3
    path, _ = write_figure(Figure(name="f", title="t", caption="c", panels=panels, num_columns=4), folder=tmp_path)
    height = int.from_bytes(path.read_bytes()[20:24], "big")  # of a PNG
    assert height == 200 * 2.5 + 40 * rows


def test_a_long_title_takes_lines_and_an_axis_ends_where_the_panel_says() -> None:
    axes = Canvas().subplots()
    draw_panel(axes, panel=panel_of("grpo", title=LONG, y_range=(-0.5, 80.0)))
    assert axes.get_title() == "grpo (lr-1e-5,model.lora.rank-\n64,dataset.source.train_rows-224)"
    assert axes.get_ylim() == (-0.5, 80.0)
