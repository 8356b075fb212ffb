"""What is written: small SVG in the page's language and colours, PNG and PDF with legends; and how arms are told apart:
contrast by WCAG, colour-blind eyes by Machado, Oliveira and Fernandes (2009), distance in OKLab.
"""

import itertools
import re
import tomllib
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from vlm_rl.reports.figures.drawing import compact_svg, draw_panel, panel_svg, write_figure, write_forest
from vlm_rl.reports.figures.marks import Band, Curve, bounds_of
from vlm_rl.reports.figures.panels import DARK_PALETTE, GLYPHS, MARKERS, PALETTE, Figure, Line, Panel, glyph_of, style_of
from vlm_rl.reports.figures.svg_marks import Place, marks_svg
from vlm_rl.reports.first_page.forest import Forest, ForestRow
from vlm_rl.reports.page.html import _file
from vlm_rl.reports.phrase import say

LONG = "grpo (lr-1e-5,model.lora.rank-64,dataset.source.train_rows-224)"


def panel_of(*labels: str, seeds: int = 2, steps: int = 5, title: str = "Response length", **options: Any) -> Panel:
    generator = np.random.default_rng(0)
    lines = []
    for color, label in enumerate(labels):
        by_seed = {seed: 100 + generator.normal(0, 6, steps) for seed in range(seeds)}
        lines.append(Line(label=label, color=color, x=np.arange(1.0, steps + 1), by_seed=by_seed, unfinished={}))
    return Panel(title=title, x_label="generation steps", y_label="tokens", lines=tuple(lines), **options)


def test_a_panel_of_twenty_runs_stays_small() -> None:
    svg = panel_svg(panel_of("a", "b", "c", "d", seeds=5, steps=150))
    assert ET.fromstring(svg) is not None and len(svg) < 60_000
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
    assert all(text in svg for text in japanese.values()) and "generation steps" not in svg


@pytest.mark.slow
def test_a_dollar_in_a_word_or_a_label_is_a_dollar(tmp_path: Path) -> None:
    panel = panel_of(r"$\frac$", title=r"“$\frac$”")
    assert r"$\frac$" in panel_svg(panel)
    row = ForestRow(label=r"$\frac$", color=0, estimate=0.1, low=0.0, high=0.2, seeds=(0.1,))
    forest = Forest(title=say("t"), delta=0.02, rows=(row,))
    figure = Figure(name="f", title="t", caption="c", panels=(panel,), num_columns=2)
    paths = [*write_figure(figure, folder=tmp_path), *write_forest(forest, folder=tmp_path)]
    assert [path.name for path in paths] == ["f.png", "f.pdf", "verdicts_forest.png", "verdicts_forest.pdf"]
    assert [path.read_bytes()[:4] for path in paths] == [b"\x89PNG", b"%PDF"] * 2


def test_a_long_title_takes_lines_and_an_axis_ends_where_the_panel_says() -> None:
    axes = Canvas().subplots()
    draw_panel(axes, panel=panel_of("grpo", title=LONG, y_range=(-0.5, 80.0)))
    title = "grpo (lr-1e-5,model.lora.rank-\n64,dataset.source.train_rows-224)"
    assert (axes.get_title(), axes.get_ylim()) == (title, (-0.5, 80.0))


LEAST_CONTRAST = 3.0  # WCAG 2.1, 1.4.11: graphical objects
LEAST_DISTANCE = 8.0  # hundredths of OKLab; Okabe and Ito's first six, darkened for contrast, had 1.7
MATRICES = tomllib.loads((Path(__file__).parent / "cases" / "palettes.toml").read_text(encoding="utf-8"))
EYES = MATRICES["eyes"]
BACKGROUNDS = [(PALETTE, "#ffffff"), (PALETTE, "#f7f7f4"), (DARK_PALETTE, "#1c2024"), (DARK_PALETTE, "#14171a")]


def linear(color: str) -> NDArray[np.float64]:
    channels = np.array(to_rgb(color))
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(MATRICES["oklab"]["lab"] @ np.cbrt(MATRICES["oklab"]["cones"] @ np.clip(light, 0, 1)))


def contrast(*pair: str) -> float:
    dark, bright = sorted(float(linear(color) @ [0.2126, 0.7152, 0.0722]) for color in pair)
    return (bright + 0.05) / (dark + 0.05)


def nearest(palette: tuple[str, ...], *, eyes: str) -> float:
    seen = [oklab(EYES[eyes] @ linear(color)) for color in palette]
    return min(100 * float(np.linalg.norm(one - other)) for one, other in itertools.combinations(seen, 2))


def test_the_measures_know_black_white_and_a_pair_that_the_colour_blind_confuse() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    usual, confused = (nearest(("#c94f00", "#a06c00"), eyes=eyes) for eyes in ("usual", "deuteranopia"))
    assert usual > LEAST_DISTANCE and confused == pytest.approx(1.7, abs=0.1)


def test_every_colour_stands_out_from_its_page_and_any_two_are_told_apart_by_any_eyes() -> None:
    for palette, background in BACKGROUNDS:
        assert min(contrast(color, background) for color in palette) >= LEAST_CONTRAST and background in _file("page.css")
    for palette, eyes in itertools.product((PALETTE, DARK_PALETTE), EYES):
        assert len(palette) == 8 and nearest(palette, eyes=eyes) >= LEAST_DISTANCE


def test_no_two_of_forty_arms_look_alike_and_the_ninth_has_the_first_colour_and_a_broken_line() -> None:
    drawn = [style_of(place) for place in range(40)]
    assert len({tuple(style.values()) for style in drawn}) == 40
    assert len({(style["color"], glyph_of(place)) for place, style in enumerate(drawn)}) == 40
    assert len(MARKERS) == len(GLYPHS) == len(set(GLYPHS)) == len(PALETTE)
    assert drawn[0]["linestyle"] == drawn[7]["linestyle"] == "-"
    broken = [{"linestyle": (0.0, dashes)} for dashes in ((7.0, 2.0), (7.0, 2.0, 1.5, 2.0))]
    assert [drawn[8], drawn[16]] == [drawn[0] | one for one in broken]
    assert [glyph_of(place) for place in (0, 8, 16, 24)] == ["●——", "●– –", "●–·–", "●–··–"]
    assert not re.search(r"--arm-\d+:", _file("page.css") + _file("print.css"))  # only the palette says what colour an arm has


def test_an_axis_of_many_steps_ends_at_a_round_number_a_little_further_at_most() -> None:
    ends = {12.0: 12.0, 30.0: 30.0, 31.0: 32.0, 99.0: 100.0, 150.0: 150.0, 151.0: 160.0, 1501.0: 1600.0}
    for end, expected in ends.items():
        curve = Curve(x=np.array([1.0, end]), y=np.array([2.0, 5.0]), color="#000000", width=1.0)
        assert bounds_of([curve]) == ((1.0, 2.0), (expected, 5.0))


def test_a_curve_is_broken_where_a_value_is_missing_and_lies_where_the_axes_say() -> None:
    place = Place(box=(10.0, 20.0, 110.0, 120.0), x=(0.0, 10.0), y=(0.0, 1.0))
    curve = Curve(x=np.arange(5.0), y=np.array([0.0, 0.5, np.nan, 1.0, 0.25]), color="#000000", width=1.6, marker="o")
    svg = ET.fromstring(f'<svg xmlns:xlink="x">{marks_svg([curve], place=place)}</svg>')
    (line,) = svg.findall("path")
    assert line.get("d") == "M10 120l10-50M40 20l10 75"  # (0, 0) lies bottom left, (10, 1) top right
    assert [(dot.get("x"), dot.get("y")) for dot in svg.findall("use")] == [
        ("10", "120"),
        ("20", "70"),
        ("40", "20"),
        ("50", "95"),
    ]
    band = Band(x=np.array([0.0, 10.0]), low=np.zeros(2), high=np.ones(2), color="#000000", alpha=0.1)
    assert 'd="M10 120l100 0 0-100-100 0z"' in marks_svg([band], place=place)
