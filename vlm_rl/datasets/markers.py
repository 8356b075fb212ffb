"""Where the images of a question stand in it: the source's own markers become `IMAGE_MARKER`s, in the order of the images."""

import re
from dataclasses import dataclass
from functools import cache

from vlm_rl.datasets.row import IMAGE_MARKER, ImageSource

NUMBER = "{n}"  # in a marker: `<image {n}>` is `<image 1>` for the first image, `<image 2>` for the second


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A question with one marker for each image, and the images in the order of the markers."""

    question: str
    images: tuple[ImageSource, ...]


@cache
def pattern_of(marker: str) -> re.Pattern[str]:
    """What a marker looks like in a text; its group is the number of the image, where markers have numbers."""
    return re.compile(re.escape(marker).replace(re.escape(NUMBER), r"(\d{1,3})"))


def marked(question: str, images: tuple[ImageSource, ...], *, marker: str, in_front: bool) -> Marked:
    """A question without markers gets them in front. A numbered image may stand more than once, and in any order.

    Images and markers that do not belong together are left for the check of the rows to count.
    """
    pattern = pattern_of(marker)
    numbers = [int(found[1]) if pattern.groups else place for place, found in enumerate(pattern.finditer(question), start=1)]
    if not numbers:
        return Marked(question=IMAGE_MARKER * len(images) * in_front + question, images=images)
    if pattern.groups:
        unnamed = tuple(image for place, image in enumerate(images, start=1) if place not in numbers)
        images = tuple(images[number - 1] for number in numbers if 0 < number <= len(images)) + unnamed
    return Marked(question=pattern.sub(IMAGE_MARKER, question), images=images)
