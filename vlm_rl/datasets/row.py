"""One problem as every data set delivers it, and rows that are built on access."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, overload, runtime_checkable

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
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)  # further columns, for breakdowns

    @property
    def content_key(self) -> str:
        """Hash of text and figures: rows with the same key are the same problem, whatever their ids."""
        text = "\x00".join([self.question, self.answer, *(image.key for image in self.images)])
        return hashlib.sha256(text.encode()).hexdigest()


class BadRow(ValueError):
    """A row that cannot be built. The message names its place, the reason and the fix."""


class LazyRows(Sequence[Any]):  # not Sequence[Row]: a runtime type checker would build a row, which may raise
    """`build(index)` for each index, on access; a slice is lazy, too."""

    def __init__(self, build: Callable[[int], Row], *, indices: Sequence[int], unused_lists: Sequence[str] = ()) -> None:
        self._build, self._indices = build, indices
        self.unused_lists = unused_lists  # list columns of the source that no part of a row uses

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> "LazyRows": ...
    def __getitem__(self, index: int | slice) -> "Row | LazyRows":
        if isinstance(index, slice):
            return LazyRows(self._build, indices=self._indices[index])
        return self._build(self._indices[index])

    def survey(self) -> "Survey":
        """Build each row once, to find those that cannot be built."""
        usable, problems = [], []
        for index in self._indices:
            try:
                self._build(index)
            except BadRow as problem:
                problems.append(str(problem))
            else:
                usable.append(index)
        return Survey(rows=LazyRows(self._build, indices=usable) if problems else self, problems=tuple(problems))


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The rows that can be built, and the errors of the others."""

    rows: LazyRows
    problems: tuple[str, ...]
