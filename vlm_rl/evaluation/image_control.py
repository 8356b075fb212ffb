"""Blind controls: without the right figure, accuracy on a vision-dominant set must fall to chance if the model reads figures."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from PIL import Image

from vlm_rl.datasets.row import ImageSource, Row
from vlm_rl.randomness import stream


@runtime_checkable
class ImageControl(Protocol):
    """What the model is shown instead of the figures."""

    def __call__(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The same questions, in the same order, with the figures that are shown."""


class Intact:
    """The figures as they are."""

    def __call__(self, rows: Sequence[Row]) -> Sequence[Row]:
        return rows


@dataclass(frozen=True, kw_only=True)
class BlankImage:
    """An empty sheet of the size of another image."""

    original: ImageSource

    @property
    def key(self) -> str:
        return f"blank-{self.original.key}"

    @property
    def size(self) -> tuple[int, int]:
        return self.original.size

    def load(self) -> Image.Image:
        return Image.new("RGB", self.size, "white")


class Blank:
    """White sheets of the same size."""

    def __call__(self, rows: Sequence[Row]) -> Sequence[Row]:
        return [replace(row, images=tuple(BlankImage(original=image) for image in row.images)) for row in rows]


class Shuffled:
    """Each row is shown the figures of another row of its kind, modality and number of images.

    Where all of these show the same figure, of any row with as many images; where there is none, white sheets.
    """

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def __call__(self, rows: Sequence[Row]) -> Sequence[Row]:
        order = stream(self._seed, "shuffled_images").permutation(len(rows)).tolist()
        alike: defaultdict[tuple[str, str, int], list[Row]] = defaultdict(list)
        as_many: defaultdict[int, list[Row]] = defaultdict(list)
        place: dict[int, int] = {}
        for i in order:
            row = rows[i]
            group = alike[row.kind, row.modality, len(row.images)]
            place[i] = len(group)
            group.append(row)
            as_many[len(row.images)].append(row)
        blank = Blank()(rows)
        shown = []
        for i, row in enumerate(rows):
            group = alike[row.kind, row.modality, len(row.images)]
            following = group[place[i] + 1 :] + group[: place[i]]  # in a circle, so that each figure is used once
            shown.append(replace(row, images=_other_images(row, [*following, *as_many[len(row.images)], blank[i]])))
        return shown


def _other_images(row: Row, others: Sequence[Row]) -> tuple[ImageSource, ...]:
    """The figures of the first of the others that shows something else."""
    own = [image.key for image in row.images]
    return next((other.images for other in others if [image.key for image in other.images] != own), row.images)
