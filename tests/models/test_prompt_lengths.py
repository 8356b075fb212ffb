"""Lengths of prompts are those of the ids, whether or not a processor's replacements tell all of what images add."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import Sheet

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models.loading import load_processor
from vlm_rl.models.prompts import Prompts

SIZES = ((28, 28), (57, 331), (640, 480), (1000, 300))  # width, height
WITHOUT_PICTURES = {"qwen3_5": True, "llava_next": True, "minicpmv4_6": False, "ovis2": False, "llava": False, "lfm2_vl": False}


@pytest.mark.slow
@pytest.mark.parametrize("family", WITHOUT_PICTURES)
def test_lengths_equal_the_ids_for_pictures_of_many_sizes(
    family: str, family_folder: Callable[[str], Path], experiment: Experiment, mixed_rows: list[Row]
) -> None:
    processor = load_processor(str(family_folder(family)), {})
    prompts = Prompts(processor=processor, dataset=replace(experiment.dataset, max_pixels=None))
    sheets = [Sheet(i, width=width, height=height) for i, (width, height) in enumerate(SIZES)]
    rows = [*mixed_rows, *(replace(mixed_rows[1], images=(sheet,)) for sheet in sheets)]
    rows.append(replace(mixed_rows[1], question="<image> and <image><image>\n<image>?", images=tuple(sheets)))
    for row, length in zip(rows, prompts.lengths(rows), strict=True):
        ids = prompts.process(row)["input_ids"][0].tolist()
        assert (length.total, length.image) == (len(ids), sum(i in processor.image_token_ids for i in ids)), row.id
    assert prompts._lengths._replacements_tell_all[1] == WITHOUT_PICTURES[family]


def test_a_short_cut_that_fails_for_large_pictures_alone_is_not_taken(
    experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a processor that cuts large pictures into slices and numbers them."""
    processor = load_processor("tiny", {})
    replaced = processor._process_images

    def short(images: list[list[object]], **settings: object) -> tuple[object, list[str]]:
        output, texts = replaced(images, **settings)
        has_pixels = getattr(images[0][0], "device", None) != torch.device("meta")
        return output, [text if has_pixels or len(text) < 5000 else text + "<|vision_end|>" for text in texts]

    monkeypatch.setattr(processor, "_process_images", short)
    prompts = Prompts(processor=processor, dataset=replace(experiment.dataset, max_pixels=None))
    large = replace(mixed_rows[1], images=(Sheet(0, width=1400, height=1000),))
    for row, length in zip([mixed_rows[1], large], prompts.lengths([mixed_rows[1], large]), strict=True):
        assert length.total == prompts.process(row)["input_ids"].shape[1]
    assert prompts._lengths._replacements_tell_all == {1: False}
