"""One problem as every dataset delivers it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from PIL import Image

IMAGE_MARKER = "<image>"


@runtime_checkable
class ImageSource(Protocol):
    """A picture that is opened or drawn only when it is needed."""

    @property
    def key(self) -> str:
        """Hash of the picture's content, hexadecimal."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of what `load` gives; read from the header, nothing is decoded."""

    def load(self) -> Image.Image:
        """The picture, RGB."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A question about zero, one or many images, with the answer that the judge compares with."""

    id: str
    question: str  # holds one IMAGE_MARKER for each image, in order
    answer: str
    solution: str | None  # worked solution, what the SFT baseline learns from
    images: tuple[ImageSource, ...] = field(repr=False)
    kind: str = ""  # kind of problem, for breakdowns
    modality: str = ""  # "text": the numbers are in the question; "vision": only in the figure; "" unknown
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)  # whatever else the source says of it, for breakdowns

    @property
    def content_key(self) -> str:
        """Hash of text and figures: two rows with one key are the same problem, whatever their ids."""
        text = "\x00".join([self.question, self.answer, *(image.key for image in self.images)])
        return hashlib.sha256(text.encode()).hexdigest()
