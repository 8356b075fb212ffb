"""What is written: small SVG in the page's language and colours, PNG and PDF with legends; and how arms are told apart:
contrast by WCAG, colour-blind eyes by Machado, Oliveira and Fernandes (2009), distance in OKLab.
"""

import itertools
import re
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from vlm_rl.reports.figures.drawing import compact_svg, draw_panel, panel_svg, write_figure, write_forest
from vlm_rl.reports.figures.panels import DARK_PALETTE, GLYPHS, MARKERS, PALETTE, Figure, Line, Panel, glyph_of, style_of
from vlm_rl.reports.first_page.forest import Forest, ForestRow
from vlm_rl.reports.page.html import _file
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
    panel = panel_of(r"$\frac$", title=r"“$\frac$”")
    assert r"$\frac$" in panel_svg(panel)
    row = ForestRow(label=r"$\frac$", color=0, estimate=0.1, low=0.0, high=0.2, seeds=(0.1,))
    forest = Forest(title=say("t"), delta=0.02, rows=(row,))
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


LEAST_CONTRAST = 3.0  # WCAG 2.1, 1.4.11: graphical objects
LEAST_DISTANCE = 8.0  # hundredths of OKLab; Okabe and Ito's first six, darkened for contrast, had 1.7
EYES = {
    "usual": np.eye(3).tolist(),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
BACKGROUNDS = [(PALETTE, "#ffffff"), (PALETTE, "#f7f7f4"), (DARK_PALETTE, "#1c2024"), (DARK_PALETTE, "#14171a")]


def linear(color: str) -> NDArray[np.float64]:
    channels = np.array(to_rgb(color))
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Björn Ottosson's, https://bottosson.github.io/posts/oklab/."""
    return np.asarray(LAB @ np.cbrt(CONES @ np.clip(light, 0, 1)))


def contrast(one: str, other: str) -> float:
    dark, bright = sorted(float(linear(color) @ [0.2126, 0.7152, 0.0722]) for color in (one, other))
    return (bright + 0.05) / (dark + 0.05)


def nearest(palette: tuple[str, ...], *, eyes: str) -> float:
    seen = [oklab(EYES[eyes] @ linear(color)) for color in palette]
    return min(100 * float(np.linalg.norm(one - other)) for one, other in itertools.combinations(seen, 2))


def test_the_measures_know_black_white_and_a_pair_that_the_colour_blind_confuse() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert 100 * np.linalg.norm(oklab(linear("#ffffff")) - oklab(linear("#000000"))) == pytest.approx(100, abs=0.01)
    former = ("#c94f00", "#a06c00")
    assert nearest(former, eyes="usual") > LEAST_DISTANCE
    assert nearest(former, eyes="deuteranopia") == pytest.approx(1.7, abs=0.1)


@pytest.mark.parametrize(("palette", "background"), BACKGROUNDS)
def test_every_colour_stands_out_from_its_page(palette: tuple[str, ...], background: str) -> None:
    assert min(contrast(color, background) for color in palette) >= LEAST_CONTRAST
    assert background in _file("page.css")


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("palette", [PALETTE, DARK_PALETTE], ids=["light", "dark"])
def test_any_two_of_eight_colours_are_told_apart_by_any_eyes(palette: tuple[str, ...], eyes: str) -> None:
    assert len(palette) == 8
    assert nearest(palette, eyes=eyes) >= LEAST_DISTANCE


def test_no_two_of_forty_arms_look_alike_and_the_ninth_has_the_first_colour_and_a_broken_line() -> None:
    drawn = [style_of(place) for place in range(40)]
    assert len({tuple(style.values()) for style in drawn}) == 40
    assert len({(style["color"], glyph_of(place)) for place, style in enumerate(drawn)}) == 40
    assert len(MARKERS) == len(GLYPHS) == len(set(GLYPHS)) == len(PALETTE)
    assert drawn[0]["linestyle"] == drawn[7]["linestyle"] == "-"
    assert drawn[8] == drawn[0] | {"linestyle": (0.0, (7.0, 2.0))}
    assert drawn[16] == drawn[0] | {"linestyle": (0.0, (7.0, 2.0, 1.5, 2.0))}
    assert [glyph_of(place) for place in (0, 8, 16, 24)] == ["●——", "●– –", "●–·–", "●–··–"]


def test_only_the_palette_says_what_colour_an_arm_has() -> None:
    assert not re.search(r"--arm-\d+:", _file("page.css") + _file("print.css"))
