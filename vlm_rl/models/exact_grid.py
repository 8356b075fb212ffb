"""Pictures as a server gets them: of the very size that the model's processor would give them, so that a second resizing does nothing.

For processors that lay a grid of patches over a picture (`image_grid_thw`). Pictures of others are sent as they are: their
processors take any picture to one size, or cut it into tiles, by themselves.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode, functional  # v1 rounds otherwise: up to 7 of 255 levels
from transformers import ProcessorMixin

GRID = "image_grid_thw"
KEPT = 10_000  # sizes whose grid is remembered
_MODES = {
    Image.Resampling.BICUBIC: InterpolationMode.BICUBIC,
    Image.Resampling.BILINEAR: InterpolationMode.BILINEAR,
    Image.Resampling.LANCZOS: InterpolationMode.LANCZOS,
}


class ExactGrid:
    """Resizes pictures as one model's processor does, which is tried with the first pictures."""

    def __init__(self, *, processor: ProcessorMixin) -> None:
        self._images = processor.image_processor
        self._target = lru_cache(KEPT)(self._size_in_grid)
        self._is_exact: bool | None = None  # not tried yet

    def __call__(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        """The same pictures, each resized where the processor would resize it."""
        if self._is_exact is None and pictures:
            self._is_exact = all(map(self._agrees, pictures))
        return [self._resized(picture) for picture in pictures] if self._is_exact else list(pictures)

    def _agrees(self, picture: Image.Image) -> bool:
        """Whether the processor makes the same of a picture and of what would be sent, and of noise of this size and of an odd one."""
        sizes = (picture.size, (picture.width + 5, picture.height + 3))
        return all(self._is_same(shown, self._resized(shown)) for shown in (picture, *map(_noise, sizes)))

    def _is_same(self, picture: Image.Image, sent: Image.Image) -> bool:
        ours, theirs = (self._images(images=[shown], return_tensors="pt") for shown in (picture, sent))
        return all(torch.equal(torch.as_tensor(ours[name]), torch.as_tensor(theirs[name])) for name in ours)

    def _resized(self, picture: Image.Image) -> Image.Image:
        size = self._target(picture.size)
        if size is None or size == picture.size:
            return picture
        pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)
        mode = _MODES.get(self._images.resample, InterpolationMode.BICUBIC)
        resized = functional.resize(pixels, [size[1], size[0]], interpolation=mode, antialias=True)
        return Image.fromarray(resized.permute(1, 2, 0).numpy())

    def _size_in_grid(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """(width, height) of a picture of this size after the processor; None where it lays no grid."""
        made = self._images(images=[Image.new("RGB", size)], return_tensors="pt")
        if GRID not in made:
            return None
        _, height, width = made[GRID][0].tolist()
        return width * self._images.patch_size, height * self._images.patch_size


def _noise(size: tuple[int, int]) -> Image.Image:
    """A picture in which every rounding is seen: a smooth one may agree by luck."""
    width, height = size
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
