"""Pictures as they lie in a file or in a table: measured by their header, decoded on purpose, refused where they are too large.

Orientation marks (EXIF) are followed, transparency lies on white paper, 16-bit greys keep their range, the first frame of
several counts. `size` is always the size of what `load` gives.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from vlm_rl.datasets.row_file import LONGEST_MARK, at_once, pointer_told
from vlm_rl.datasets.shown import shortened

# Formats that are pictures and nothing else: EPS, for one, would start an interpreter of PostScript.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
LARGEST_IMAGE = 89_478_485  # pixels: where Pillow itself begins to warn of a bomb
LARGEST_FILE = 2**30  # bytes; a picture of LARGEST_IMAGE pixels that is not compressed at all has a quarter of it
STRIP = 2**20  # pixels converted at a time, where that takes more than one step
PAPER = (255, 255, 255)
LEVELS = {"L;2": 4, "L;4": 16}  # greys of PNG that Pillow decodes to 8 bit, without the transparent one among them
PHOTOMETRIC = 262  # the tag of TIFF that says whether 0 is black
_TURN = Image.Transpose
_TURNS = (_TURN.FLIP_LEFT_RIGHT, _TURN.ROTATE_180, _TURN.FLIP_TOP_BOTTOM, _TURN.TRANSPOSE, _TURN.ROTATE_270, _TURN.TRANSVERSE)
ORIENTATIONS = dict(enumerate((*_TURNS, _TURN.ROTATE_90), start=2))  # by EXIF's number
Opened = BufferedReader | BytesIO
TURNED = {5, 6, 7, 8}  # width and height change places


class BadPicture(ValueError):
    """A picture that cannot be used: which one, why, and what to do."""


@runtime_checkable
class Bytes(Protocol):
    """Where an encoded picture is."""

    def open(self) -> Opened:
        """Its bytes, to be read. Raises FileNotFoundError where there are none."""


@dataclass(frozen=True, kw_only=True)
class FileBytes:
    """A file of its own."""

    path: Path
    folder: Path | None = None  # of the data, in which a file of another name may be meant

    def open(self) -> Opened:
        file = open(self.path, "rb", opener=at_once)  # noqa: SIM115  its reader closes it
        told = os.fstat(file.fileno())
        if stat.S_ISREG(told.st_mode) and told.st_size <= LARGEST_FILE:
            return file
        file.close()
        if stat.S_ISREG(told.st_mode):
            raise ValueError(f"its {told.st_size:,} bytes are more than a picture file may have ({LARGEST_FILE:,})")
        raise ValueError("it is no regular file, but a pipe, a device or the like")


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """An image source of `datasets.row` over the bytes of an encoded picture, which identify it."""

    content: Bytes
    where: str  # for messages: a path, or a row of a table
    largest: int = LARGEST_IMAGE  # pixels; a header that promises more is refused before anything is decoded

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
            orientation = _orientation(image)  # before decoding: PNG may bring another one behind its pixels
            return _rgb(image), orientation

    @contextmanager
    def _readable(self) -> Iterator[Opened]:
        try:
            with self.content.open() as file:
                yield file
        except FileNotFoundError:
            raise
        except Exception as error:  # a decoder that is fed garbage may raise anything
            reason = _reason(error)
            if isinstance(error, UnidentifiedImageError):
                with self.content.open() as again:
                    reason = pointer_told(again.read(LONGEST_MARK)) or reason
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
    """The EXIF orientation that stands before the pixels and is not followed by Pillow itself; 1 where there is none."""
    if image.format == "TIFF":
        return 1  # Pillow has turned the size already and turns the pixels as it decodes
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1  # asking for it would decode the picture
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _rgb(image: Image.Image) -> Image.Image:
    """Decodes. Raises ValueError where numbers have no defined white."""
    written = _layout(image)  # before decoding: then it is forgotten
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
    return _in_strips(image, convert=partial(_on_paper, clear=_clear(image, written=written)))


def _in_strips(image: Image.Image, *, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """What `convert` makes of the picture, RGB; what it needs on the way is never there for the whole picture."""
    width, height = image.size
    whole, rows = Image.new("RGB", image.size), max(1, STRIP // width)
    for top in range(0, height, rows):
        whole.paste(convert(image.crop((0, top, width, min(top + rows, height)))), (0, top))
    return whole


def _layout(image: Image.Image) -> str:
    """Pillow's name for the pixels as they are in the file, such as `L;4`."""
    settings = image.tile[0][3] if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    first = settings[0] if isinstance(settings, tuple) and settings else settings
    return first if isinstance(first, str) else ""


def _clear(image: Image.Image, *, written: str) -> Any:
    """The value that is transparent, on the scale of the decoded pixels: Pillow gives it as PNG has it, with 2, 4 or 16 bits."""
    clear = image.info.get("transparency")
    if image.format == "PNG" and written in LEVELS and isinstance(clear, int):
        return clear % LEVELS[written] * 255 // (LEVELS[written] - 1)
    if image.format == "PNG" and written == "RGB;16B" and isinstance(clear, tuple):
        return tuple(value >> 8 for value in clear)  # of the pixels, too, Pillow keeps the upper 8 bits
    return clear


def _eight_bits(picture: Image.Image, *, white: int, is_negative: bool, clear: Any) -> Image.Image:
    """Greys of more than 8 bits to the nearest of 8, on paper; there are no ties, 257 is odd.

    `white` is the number of white, or of black where `is_negative`; `clear` that of transparent pixels, if it is a number.
    """
    numbers = np.asarray(picture).astype(np.uint32)
    greys = (numbers * 255 + white // 2) // white
    greys = 255 - greys if is_negative else greys
    if isinstance(clear, int):
        greys[numbers == clear] = PAPER[0]
    return Image.fromarray(greys.astype(np.uint8)).convert("RGB")


def _on_paper(picture: Image.Image, *, clear: Any) -> Image.Image:
    if clear is not None:
        picture.info["transparency"] = clear
    paper = Image.new("RGBA", picture.size, PAPER)
    shown = picture.convert("LA") if picture.mode == "La" else picture  # grey that was multiplied by its alpha
    paper.alpha_composite(shown.convert("RGBA"))
    return paper.convert("RGB")


def shrunk_size(size: tuple[int, int], *, max_pixels: int | None) -> tuple[int, int]:
    """The largest (width, height) of the same shape within the budget, both at least 1; the size itself where it fits."""
    width, height = size
    if max_pixels is None or width * height <= max_pixels:
        return size
    scale = (max_pixels / (width * height)) ** 0.5
    narrow, low = int(width * scale), int(height * scale)
    if not narrow:
        return 1, min(height, max_pixels)  # a side cannot be thinner than a pixel: the other gives way
    return (narrow, low) if low else (min(width, max_pixels), 1)


def shrunk(picture: Image.Image, *, max_pixels: int | None) -> Image.Image:
    """The picture within the budget."""
    size = shrunk_size(picture.size, max_pixels=max_pixels)
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)
