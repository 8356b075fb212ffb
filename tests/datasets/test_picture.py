"""Pictures are shown upright, on white, within the budget, and measured without decoding; what is no picture is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_files import png_of_size
from PIL import Image, ImageOps

from vlm_rl.datasets.picture import BadPicture, Picture, picture_file, shrunk, shrunk_size

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")


def saved(image: Image.Image, path: Path, **options: object) -> Picture:
    """The picture after a way over the disk."""
    image.save(path, **options)  # type: ignore[arg-type]
    return picture_file(path)


def corners(size: tuple[int, int] = (3, 2)) -> Image.Image:
    """No two pixels alike."""
    pixels = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(size[1], size[0], 3) * 9
    return Image.fromarray(pixels)


@pytest.mark.parametrize("orientation", range(9))
@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "webp"])
def test_a_turned_picture_is_set_upright_and_measured_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = saved(corners(), tmp_path / f"a.{kind}", exif=exif, **({"lossless": True} if kind == "webp" else {}))
    with Image.open(tmp_path / f"a.{kind}") as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    assert picture.size == ((2, 3) if orientation in (5, 6, 7, 8) else (3, 2))
    assert picture.load().size == picture.size
    assert picture.load().tobytes() == expected.tobytes()


def test_a_mark_behind_the_pixels_of_a_png_turns_neither_the_picture_nor_its_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    saved(corners(), tmp_path / "a.png", exif=exif)
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = content.index(b"IEND") - 4
    (tmp_path / "b.png").write_bytes(content[:start] + content[end:last] + content[start:end] + content[last:])
    late = picture_file(tmp_path / "b.png")
    assert late.size == late.load().size == (3, 2)


@pytest.mark.parametrize(("value", "shown"), [(0, (0, 0, 0)), (1, (255, 255, 255))])
def test_one_bit_is_black_or_white(tmp_path: Path, value: int, shown: tuple[int, int, int]) -> None:
    picture = saved(Image.new("1", (2, 2), value), tmp_path / "a.png")
    assert (picture.load().mode, picture.load().getcolors(), picture.size) == ("RGB", [(4, shown)], (2, 2))


def test_inks_become_light(tmp_path: Path) -> None:
    picture = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "a.tiff")
    assert picture.load().getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_without_a_white_are_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(BadPicture, match=r"a\.tiff cannot be read: its pixels are 32-bit numbers .*; use 8 or 16 bit\."):
        saved(Image.new(mode, (2, 2)), tmp_path / "a.tiff").load()


def test_a_bomb_is_refused_by_its_header_already(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_of_size(12_000, 12_000))
    with pytest.raises(
        BadPicture, match=r"a\.png cannot be read: its 12000 x 12000 pixels are more than dataset\.source\.largest_image"
    ):
        assert picture_file(tmp_path / "a.png").size
    assert picture_file(tmp_path / "a.png", largest=144_000_000).size == (12_000, 12_000)


def test_a_file_that_is_not_there_says_so_itself(tmp_path: Path) -> None:
    for ask in (lambda picture: picture.size, lambda picture: picture.key, lambda picture: picture.load()):
        with pytest.raises(FileNotFoundError):
            ask(picture_file(tmp_path / "nothing.png"))


@pytest.mark.parametrize(
    ("size", "budget", "smaller"),
    [
        ((200, 100), None, (200, 100)),
        ((200, 100), 20_000, (200, 100)),
        ((200, 100), 5_000, (100, 50)),  # half of each side is a quarter of the pixels
        ((1, 10_000_000), 1_000_000, (1, 1_000_000)),  # a side cannot be thinner than a pixel
        ((3, 3), 1, (1, 1)),
    ],
)
def test_the_budget_keeps_the_shape(size: tuple[int, int], budget: int | None, smaller: tuple[int, int]) -> None:
    assert shrunk_size(size, max_pixels=budget) == smaller


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**7))
def test_no_size_is_over_the_budget_or_empty_or_larger_than_before(width: int, height: int, budget: int) -> None:
    new_width, new_height = shrunk_size((width, height), max_pixels=budget)
    assert 1 <= new_width <= width
    assert 1 <= new_height <= height
    assert new_width * new_height <= budget


def test_a_shrunk_picture_is_the_same_picture_smaller() -> None:
    halves = Image.new("RGB", (200, 100))
    halves.paste((255, 255, 255), (100, 0, 200, 100))
    small = shrunk(halves, max_pixels=5_000)
    assert small.size == (100, 50)
    assert small.getpixel((20, 25)) == (0, 0, 0)
    assert small.getpixel((80, 25)) == (255, 255, 255)
    assert shrunk(halves, max_pixels=20_000) is halves
