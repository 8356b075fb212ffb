"""How arms are told apart: contrast by WCAG, colour-blind eyes by Machado, Oliveira and Fernandes (2009), distance in OKLab."""

import itertools
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from vlm_rl.reports.figures.panels import DARK_PALETTE, GLYPHS, MARKERS, PALETTE, glyph_of, style_of
from vlm_rl.reports.page.html import _file

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
