"""A picture that was resized before it is sent is, after the processor, the very picture that the trainer reads."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, ProcessorMixin

from vlm_rl.models.exact_grid import ExactGrid
from vlm_rl.models.loading import resolve

SIZES = ((101, 67), (83, 131), (45, 58), (149, 90), (281, 268), (40, 152), (168, 112))


@pytest.fixture(scope="module")
def processor() -> ProcessorMixin:
    processor: ProcessorMixin = AutoProcessor.from_pretrained(resolve("tiny"))
    return processor


@pytest.mark.parametrize("size", SIZES)
def test_the_processor_makes_the_same_of_a_picture_and_of_what_is_sent(
    size: tuple[int, int], processor: ProcessorMixin
) -> None:
    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    (sent,) = ExactGrid(processor=processor)([picture])
    ours, theirs = (processor.image_processor(images=[shown], return_tensors="pt") for shown in (picture, sent))
    assert sent.width % 28 == 0 and sent.height % 28 == 0
    assert torch.equal(ours["pixel_values"], theirs["pixel_values"])
