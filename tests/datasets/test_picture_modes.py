"""Transparency lies on white and greys of many bits keep their range, in every way that files write them. Bytes are written by hand."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from vlm_rl.datasets import picture
from vlm_rl.datasets.picture import picture_file

WHITE = (255, 255, 255)
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # colour types of PNG
UNRELATED, MULTIPLIED, UNASSOCIATED = 0, 1, 2  # extra samples of TIFF
Colour = tuple[int, int, int]


def grey(level: int) -> Colour:
    """The same three times."""
    return level, level, level


def shorts(*values: int, order: str = ">") -> bytes:
    """Numbers of 16 bits."""
    return struct.pack(f"{order}{len(values)}H", *values)


def png(
    depth: int, kind: int, row: bytes, *, clear: bytes = b"", palette: bytes = b"", width: int = 2, interlaced: int = 0
) -> bytes:
    """One line of pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) if data else b""

    header = struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, interlaced)
    parts = (
        chunk(b"IHDR", header) + chunk(b"PLTE", palette) + chunk(b"tRNS", clear) + chunk(b"IDAT", zlib.compress(b"\0" + row))
    )
    return b"\x89PNG\r\n\x1a\n" + parts + b"\0\0\0\0IEND\xaeB`\x82"


def tiff(*, samples: Sequence[int] | bytes, bits: int, photometric: int = 1, extra: int | None = None, order: str) -> bytes:
    """One line of two pixels."""
    data = (
        samples if isinstance(samples, bytes) else struct.pack(f"{order}{len(samples)}{'H' if bits == 16 else 'B'}", *samples)
    )
    count = 1 if isinstance(samples, bytes) else len(samples) // 2
    tags: list[tuple[int, list[int]]] = [
        (256, [2]), (257, [1]), (258, [bits] * count), (259, [1]), (262, [photometric]), (273, [8]), (277, [count]), (278, [1]),
        (279, [len(data)]), *([(338, [extra])] if extra is not None else []),
    ]  # fmt: skip
    data += b"\0" * (len(data) % 2)
    start, entries, behind = 8 + len(data), b"", b""
    for tag, values in tags:
        raw = struct.pack(f"{order}{len(values)}H", *values)
        place = struct.pack(f"{order}I", start + 2 + 12 * len(tags) + 4 + len(behind)) if len(raw) > 4 else raw.ljust(4, b"\0")
        behind += raw if len(raw) > 4 else b""
        entries += struct.pack(f"{order}HHI", tag, 3, len(values)) + place
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", start) + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + behind


def shown(tmp_path: Path, content: bytes) -> list[Colour]:
    """The pixels of the only line."""
    (tmp_path / "a").write_bytes(content)
    found = picture_file(tmp_path / "a").load()
    assert found.mode == "RGB"
    assert found.height == 1
    return [found.getpixel((x, 0)) for x in range(found.width)]  # type: ignore[misc]


PNGS = {
    "1 bit, black": (png(1, GREY, b"\x40", clear=shorts(0)), [WHITE, WHITE]),
    "1 bit, white": (png(1, GREY, b"\x40", clear=shorts(1)), [grey(0), WHITE]),
    "2 bit": (png(2, GREY, b"\x60", clear=shorts(1)), [WHITE, grey(170)]),  # 2 of 3
    "2 bit, the other": (png(2, GREY, b"\x60", clear=shorts(2)), [grey(85), WHITE]),
    "4 bit": (png(4, GREY, b"\x37", clear=shorts(3)), [WHITE, grey(119)]),  # 7 of 15
    "4 bit, a value that is none": (png(4, GREY, b"\x37", clear=shorts(5)), [grey(51), grey(119)]),
    "8 bit": (png(8, GREY, b"\x03\x75", clear=shorts(3)), [WHITE, grey(117)]),
    "16 bit": (png(16, GREY, shorts(0, 30000), clear=shorts(0)), [WHITE, grey(117)]),  # 30000 / 257 = 116.7
    "16 bit, one less": (png(16, GREY, shorts(770, 771), clear=shorts(771)), [grey(3), WHITE]),
    "16 bit, white": (png(16, GREY, shorts(65535, 65534), clear=shorts(65535)), [WHITE, WHITE]),
    "16 bit, none": (png(16, GREY, shorts(0, 30000)), [grey(0), grey(117)]),
    "16 bit, interlaced": (png(16, GREY, shorts(7), clear=shorts(7), width=1, interlaced=1), [WHITE]),
    "2 bit, interlaced": (png(2, GREY, b"\x80", clear=shorts(2), width=1, interlaced=1), [WHITE]),
    "RGB": (png(8, RGB, bytes([1, 2, 3, 4, 5, 6]), clear=shorts(1, 2, 3)), [WHITE, (4, 5, 6)]),
    "RGB 16 bit": (png(16, RGB, shorts(30000, 0, 65535, 30000, 0, 0), clear=shorts(30000, 0, 65535)), [WHITE, (117, 0, 0)]),
    "RGB 16 bit, low bytes alike": (png(16, RGB, shorts(0x0105, 0, 0, 0x0205, 0, 0), clear=shorts(0x0205, 0, 0)), [(1, 0, 0), WHITE]),
    "RGB 16 bit, interlaced": (png(16, RGB, shorts(30000, 9, 9), clear=shorts(30000, 9, 9), width=1, interlaced=1), [WHITE]),
    **{
        f"palette of {bits} bit": (
            png(bits, PALETTE, row, clear=b"\x33", palette=bytes([0, 0, 0, 8, 9, 10])), [grey(204), (8, 9, 10)]
        )
        for bits, row in ((1, b"\x40"), (2, b"\x10"), (4, b"\x01"), (8, b"\x00\x01"))
    },  # 255 x (1 - 51 / 255)
    "grey and alpha": (png(8, GREY_ALPHA, bytes([0, 51, 9, 255])), [grey(204), grey(9)]),
    "grey and alpha, 16 bit": (png(16, GREY_ALPHA, shorts(0, 51 * 257, 30000, 65535)), [grey(204), grey(117)]),
    "RGB and alpha": (png(8, RGB_ALPHA, bytes([0, 0, 0, 51, 7, 8, 9, 255])), [grey(204), (7, 8, 9)]),
    "RGB and alpha, 16 bit": (png(16, RGB_ALPHA, shorts(0, 0, 0, 51 * 257, 30000, 0, 65535, 65535)), [grey(204), (117, 0, 255)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", PNGS)
def test_what_is_transparent_in_a_png_lies_on_white(tmp_path: Path, kind: str) -> None:
    content, expected = PNGS[kind]
    assert shown(tmp_path, content) == expected


TIFFS = {  # samples and tags, and what is shown
    "grey": ({"samples": [0, 30000], "bits": 16}, [grey(0), grey(117)]),
    "negative grey": ({"samples": [0, 30000], "bits": 16, "photometric": 0}, [WHITE, grey(138)]),  # 255 - 117
    "negative grey of 8 bit": ({"samples": [0, 117], "bits": 8, "photometric": 0}, [WHITE, grey(138)]),
    "grey of 12 bit": ({"samples": b"\xff\xf8\x00", "bits": 12}, [WHITE, grey(128)]),  # 2048 / 4095 x 255 = 127.5
    "RGB of 16 bit": ({"samples": [30000, 0, 65535, 0, 0, 0], "bits": 16, "photometric": 2}, [(117, 0, 255), grey(0)]),
    "alpha": ({"samples": [0, 0, 0, 51, 7, 8, 9, 255], "bits": 8, "photometric": 2, "extra": UNASSOCIATED}, [grey(204), (7, 8, 9)]),
    "alpha of 16 bit": (
        {"samples": [0, 0, 0, 51 * 257, *[30000] * 3, 65535], "bits": 16, "photometric": 2, "extra": UNASSOCIATED}, [grey(204), grey(117)]
    ),
    "multiplied alpha": (
        {"samples": [51, 0, 0, 51, 7, 8, 9, 255], "bits": 8, "photometric": 2, "extra": MULTIPLIED}, [(255, 204, 204), (7, 8, 9)]
    ),
    "multiplied alpha of 16 bit": (
        {"samples": [51 * 257, 0, 0, 51 * 257, *[30000] * 3, 65535], "bits": 16, "photometric": 2, "extra": MULTIPLIED},
        [(255, 204, 204), grey(117)],
    ),
    "something that is no alpha": (
        {"samples": [51, 0, 0, 51, 7, 8, 9, 0], "bits": 8, "photometric": 2, "extra": UNRELATED}, [(51, 0, 0), (7, 8, 9)]
    ),
    "grey and alpha": ({"samples": [0, 51, 9, 255], "bits": 8, "extra": UNASSOCIATED}, [grey(204), grey(9)]),
    "grey and multiplied alpha": ({"samples": [0, 51, 9, 255], "bits": 8, "extra": MULTIPLIED}, [grey(204), grey(9)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", TIFFS)
def test_what_a_tiff_means_is_shown_in_either_order_of_bytes(tmp_path: Path, kind: str) -> None:
    content, expected = TIFFS[kind]
    for order in (
        "<" if kind in ("negative grey", "grey of 12 bit") else "<>"
    ):  # the other order of these two is unknown to Pillow
        assert shown(tmp_path, tiff(**content, order=order)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"P5 2 1 65535\n" + shorts(30000, 65535), [grey(117), WHITE]),
        (b"P5 2 1 1000\n" + shorts(250, 1000), [grey(64), WHITE]),  # 63.75
        (b"P5 2 1 15\n\x07\x0f", [grey(119), WHITE]),
        (b"P6 2 1 65535\n" + shorts(30000, 0, 65535, 0, 0, 0), [(117, 0, 255), grey(0)]),
    ],
)
def test_greys_of_ppm_have_the_white_that_their_header_says(tmp_path: Path, content: bytes, expected: list[Colour]) -> None:
    assert shown(tmp_path, content) == expected


@pytest.mark.parametrize(("kind", "options"), [("WEBP", {"lossless": True, "exact": True}), ("JPEG2000", {}), ("PNG", {})])
def test_alpha_lies_on_white_in_every_format_that_has_it(tmp_path: Path, kind: str, options: dict[str, bool]) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 51))
    image.putpixel((1, 0), (9, 8, 7, 255))
    file = io.BytesIO()
    image.save(file, kind, **options)
    assert shown(tmp_path, file.getvalue()) == [grey(204), (9, 8, 7)]


@pytest.mark.parametrize(("clear", "expected"), [(0, [WHITE, (4, 5, 6)]), (1, [(1, 2, 3), WHITE])])
def test_one_colour_of_a_gif_may_be_transparent(tmp_path: Path, clear: int, expected: list[Colour]) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.putpixel((1, 0), 1)
    file = io.BytesIO()
    image.save(file, "GIF", transparency=clear)
    assert shown(tmp_path, file.getvalue()) == expected


def test_strips_know_what_is_transparent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "STRIP", 2)
    rows = b"".join(b"\0" + shorts(7, 30000) for _ in range(5))
    one = png(16, GREY, shorts(7, 30000), clear=shorts(7))
    start = one.index(b"IDAT") - 4
    data = zlib.compress(rows)
    header = struct.pack(">IIBBBBB", 2, 5, 16, GREY, 0, 0, 0)
    content = one[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + one[33:start]
    content += struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data)) + one[-12:]
    (tmp_path / "a.png").write_bytes(content)
    found = picture_file(tmp_path / "a.png").load()
    assert [found.getpixel((x, y)) for y in range(5) for x in (0, 1)] == [WHITE, grey(117)] * 5
