"""Encoded pictures: `size` is read from the header, `load` decodes, and a picture that is too large is refused.

EXIF orientation is applied, transparency becomes white, 16-bit greys keep their range, the first of several frames is used.
`size` is always the size of the result of `load`.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from vlm_rl.datasets.row_file import LONGEST_MARK, at_once, pointer_message
from vlm_rl.datasets.shown import shortened

# Formats that only hold pictures. EPS, for example, would start a PostScript interpreter.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
LARGEST_IMAGE = 89_478_485  # pixels: Pillow's own limit for its warning
LARGEST_FILE = 2**30  # bytes; a picture of LARGEST_IMAGE pixels that is not compressed at all has a quarter of it
STRIP = 2**20  # pixels converted at a time, to save memory
WHITE = (255, 255, 255)
LEVELS = {"L;2": 4, "L;4": 16}  # PNG greys that Pillow scales to 8 bits, but not their transparent value
PHOTOMETRIC = 262  # the tag of TIFF that says whether 0 is black
_TURN = Image.Transpose
_TURNS = (_TURN.FLIP_LEFT_RIGHT, _TURN.ROTATE_180, _TURN.FLIP_TOP_BOTTOM, _TURN.TRANSPOSE, _TURN.ROTATE_270, _TURN.TRANSVERSE)
ORIENTATIONS = dict(enumerate((*_TURNS, _TURN.ROTATE_90), start=2))  # by EXIF's number
Opened = BufferedReader | BytesIO
TURNED = {5, 6, 7, 8}  # orientations that swap width and height


class BadPicture(ValueError):
    """A picture that cannot be used. The message names it, the reason and the fix."""


@runtime_checkable
class Bytes(Protocol):
    """The place of an encoded picture."""

    def open(self) -> Opened:
        """A reader of its bytes. Raises FileNotFoundError."""


@dataclass(frozen=True, kw_only=True)
class FileBytes:
    """A file of its own."""

    path: Path
    folder: Path | None = None  # of the data, to find a file with a similar name

    def open(self) -> Opened:
        file = open(self.path, "rb", opener=at_once)  # noqa: SIM115  its reader closes it
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST_FILE:
            return file
        file.close()
        if stat.S_ISREG(status.st_mode):
            raise ValueError(f"its {status.st_size:,} bytes are more than a picture file may have ({LARGEST_FILE:,})")
        raise ValueError("it is no regular file, but a pipe, a device or the like")


@dataclass(frozen=True, kw_only=True, eq=False)
class MemoryBytes:
    """Bytes of a table or a text."""

    read: Callable[[], Any] = field(repr=False)  # bytes or a buffer

    def open(self) -> BytesIO:
        return BytesIO(self.read())


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """An image source of `datasets.row`: an encoded picture, identified by its bytes."""

    content: Bytes
    where: str  # for messages: a path, or a row of a table
    largest: int = LARGEST_IMAGE  # pixels; a header that says more is refused before decoding

    @cached_property
    def key(self) -> str:
        """SHA-256 of the bytes."""
        with self._readable() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture as it is shown, from its header. Raises BadPicture, or FileNotFoundError."""
        with self._image() as image:
            width, height = image.size
            return (height, width) if _orientation(image) in TURNED else (width, height)

    def load(self) -> Image.Image:
        """The picture, upright, RGB. Raises BadPicture, or FileNotFoundError."""
        picture, orientation = self._decoded()
        return picture.transpose(ORIENTATIONS[orientation]) if orientation in ORIENTATIONS else picture

    def _decoded(self) -> tuple[Image.Image, int]:
        with self._image() as image:
            orientation = _orientation(image)  # before decoding: a PNG may have another one after its pixels
            return _rgb(image), orientation

    @contextmanager
    def _readable(self) -> Iterator[Opened]:
        try:
            with self.content.open() as file:
                yield file
        except FileNotFoundError:
            raise
        except Exception as error:  # decoders of damaged files raise any exception
            reason = _reason(error)
            if isinstance(error, UnidentifiedImageError):
                with self.content.open() as again:
                    reason = pointer_message(again.read(LONGEST_MARK)) or reason
            raise BadPicture(f"{self.where} cannot be read: {reason}.") from error

    @contextmanager
    def _image(self) -> Iterator[Image.Image]:
        with self._readable() as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height == 0:
                raise ValueError(f"its {width} x {height} pixels are none at all; save it again or drop the row")
            if width * height > self.largest:
                raise ValueError(
                    f"its {width} x {height} pixels are more than dataset.source.largest_image={self.largest} "
                    "(raise that for files you trust: decoding takes up to 30 bytes a pixel)"
                )
            yield image


def picture_file(path: Path, *, largest: int = LARGEST_IMAGE, folder: Path | None = None) -> Picture:
    """The picture in a file."""
    return Picture(content=FileBytes(path=path, folder=folder), where=shortened(str(path), most=250), largest=largest)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"it is no picture in one of the formats {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"Pillow takes it for a decompression bomb ({error})"
    return str(error).rstrip(".") or type(error).__name__


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation before the pixels that Pillow does not apply itself; 1 where there is none."""
    if image.format == "TIFF":
        return 1  # Pillow applies it itself
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1  # getexif would decode the picture
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _rgb(image: Image.Image) -> Image.Image:
    """Decodes. Raises ValueError where numbers have no defined white."""
    written = _layout(image)  # before decoding: Pillow drops it then
    if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM"):
        convert = partial(
            _eight_bits,
            white=4095 if written == "I;12" else 65535,
            is_negative=image.format == "TIFF" and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0,
            clear=image.info.get("transparency"),
        )
        return _in_strips(image, convert=convert)
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its pixels are 32-bit numbers (mode {image.mode}), of which nobody knows which is white; use 8 or 16 bit"
        )
    if not image.has_transparency_data:
        return image.convert("RGB")
    return _in_strips(image, convert=partial(_on_white, clear=_clear(image, written=written)))


def _in_strips(image: Image.Image, *, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """`convert` applied to strips of the picture, RGB: its temporary arrays are never as large as the picture."""
    width, height = image.size
    whole, rows = Image.new("RGB", image.size), max(1, STRIP // width)
    for top in range(0, height, rows):
        whole.paste(convert(image.crop((0, top, width, min(top + rows, height)))), (0, top))
    return whole


def _layout(image: Image.Image) -> str:
    """Pillow's name for the pixel layout in the file, such as `L;4`."""
    settings = image.tile[0][3] if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    first = settings[0] if isinstance(settings, tuple) and settings else settings
    return first if isinstance(first, str) else ""


def _clear(image: Image.Image, *, written: str) -> Any:
    """The transparent value on the scale of the decoded pixels; Pillow gives it on that of the PNG: 2, 4 or 16 bits."""
    clear = image.info.get("transparency")
    if image.format == "PNG" and written in LEVELS and isinstance(clear, int):
        return clear % LEVELS[written] * 255 // (LEVELS[written] - 1)
    if image.format == "PNG" and written == "RGB;16B" and isinstance(clear, tuple):
        return tuple(value >> 8 for value in clear)  # Pillow keeps the upper 8 bits of the pixels, too
    return clear


def _eight_bits(picture: Image.Image, *, white: int, is_negative: bool, clear: Any) -> Image.Image:
    """Greys of more than 8 bits to the nearest of 8, transparent pixels white; there are no ties, since 257 is odd.

    `white` is the number of white, or of black where `is_negative`; `clear` that of transparent pixels, if it is a number.
    """
    numbers = np.asarray(picture).astype(np.uint32)
    greys = (numbers * 255 + white // 2) // white
    greys = 255 - greys if is_negative else greys
    if isinstance(clear, int):
        greys[numbers == clear] = WHITE[0]
    return Image.fromarray(greys.astype(np.uint8)).convert("RGB")


def _on_white(picture: Image.Image, *, clear: Any) -> Image.Image:
    if clear is not None:
        picture.info["transparency"] = clear
    white_page = Image.new("RGBA", picture.size, WHITE)
    shown = picture.convert("LA") if picture.mode == "La" else picture  # premultiplied grey
    white_page.alpha_composite(shown.convert("RGBA"))
    return white_page.convert("RGB")


def shrunk_size(size: tuple[int, int], *, max_pixels: int | None) -> tuple[int, int]:
    """The largest (width, height) of the same shape within the budget, both at least 1; the size itself where it fits."""
    width, height = size
    if max_pixels is None or width * height <= max_pixels:
        return size
    scale = (max_pixels / (width * height)) ** 0.5
    narrow, low = int(width * scale), int(height * scale)
    if not narrow:
        return 1, min(height, max_pixels)  # a side has at least one pixel, so the other is shortened
    return (narrow, low) if low else (min(width, max_pixels), 1)


def shrunk(picture: Image.Image, *, max_pixels: int | None) -> Image.Image:
    """The picture within the budget."""
    size = shrunk_size(picture.size, max_pixels=max_pixels)
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)
