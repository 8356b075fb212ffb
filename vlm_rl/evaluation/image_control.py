"""Blind controls: on a vision-dominant set accuracy must fall to chance without the right figure, or it was not read."""

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

    def load(self) -> Image.Image:
        return Image.new("RGB", self.original.load().size, "white")


class Blank:
    """White sheets of the same size."""

    def __call__(self, rows: Sequence[Row]) -> Sequence[Row]:
        return [replace(row, images=tuple(BlankImage(original=image) for image in row.images)) for row in rows]


class Shuffled:
    """Each row is shown the figures of another row of its kind, modality and number of images."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def __call__(self, rows: Sequence[Row]) -> Sequence[Row]:
        alike: defaultdict[tuple[str, str, int], list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            alike[row.kind, row.modality, len(row.images)].append(i)
        shown = list(rows)
        for key, members in alike.items():
            order = stream(self._seed, "shuffled_images", *key).permutation(members).tolist()
            for mine, other in zip(order, order[1:] + order[:1], strict=True):  # a cycle: nobody keeps the own figure
                shown[mine] = replace(rows[mine], images=rows[other].images)
        return shown
