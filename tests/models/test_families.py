"""The small models of all families in plain Transformers, nothing of ours in between: what the other tests stand on."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families.trials import processed
from tiny_runs import Sheet
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from vlm_rl.datasets.row import Row

Plain = tuple[ProcessorMixin, PreTrainedModel]
ONE_IMAGE_TOKENS = {  # of 84 x 56 pixels
    "qwen2_vl": 6,  # 6 x 4 patches of 14, merged 2 x 2
    "qwen2_5_vl": 6,
    "qwen3_vl": 6,  # to 96 x 64, 6 x 4 patches of 16, merged 2 x 2
    "gemma3": 4,  # always
    "smolvlm": 20,  # to 84 x 84, 2 x 2 tiles of 42 and the whole, 4 tokens each
    "idefics3": 20,  # to 56 x 56, 2 x 2 tiles of 28 and the whole, 4 tokens each
    "llava_onevision": 120,  # 3 x 2 tiles of 4 x 4: 96, a line end for each of 8 lines, the whole 16
    "internvl": 20,  # 2 x 2 tiles, the most of those as near to 3:2 as can be, and the whole, 4 tokens each
}
THREE_IMAGES_TOKENS = {  # of 112, 140 and 168 x 56 pixels
    "qwen2_vl": 30,  # 8 + 10 + 12
    "qwen2_5_vl": 30,
    "qwen3_vl": 26,  # to 128, 128 and 160 x 64: 8 + 8 + 10
    "gemma3": 12,
    "smolvlm": 36,  # 2 x 1 tiles and the whole of each
    "idefics3": 36,
    "llava_onevision": 51,  # one tile each and a line end: 3 x 17
    "internvl": 44,  # 2, 3 and 3 tiles and the whole of each: 4 x (3 + 4 + 4)
}


@pytest.fixture(scope="session")
def plain(family: str, family_folder: Callable[[str], Path]) -> Plain:
    """What the README tells a user to call."""
    folder = family_folder(family)
    model = AutoModelForImageTextToText.from_pretrained(folder, use_safetensors=True)
    return AutoProcessor.from_pretrained(folder), model.eval()


def test_a_built_folder_is_the_family_s_own_class(plain: Plain, family: str) -> None:
    assert plain[1].config.model_type == family
    assert type(plain[1]).__name__.lower().replace("_", "").startswith(family.replace("_", ""))
    assert plain[1].config.get_text_config().num_key_value_heads == 2


def test_image_tokens_are_as_many_as_counted_by_hand(plain: Plain, family: str, mixed_rows: list[Row]) -> None:
    processor, model = plain
    none, one, three = (processed(processor, [row.question], [row])["input_ids"] for row in mixed_rows)
    counts = [int((ids == model.config.image_token_id).sum()) for ids in (none, one, three)]
    assert counts == [0, ONE_IMAGE_TOKENS[family], THREE_IMAGES_TOKENS[family]]


@torch.no_grad()
def test_a_left_padded_batch_is_its_rows(plain: Plain, mixed_rows: list[Row]) -> None:
    processor, model = plain
    together = processed(processor, [row.question for row in mixed_rows], mixed_rows)
    assert not together["attention_mask"][:, 0].all()
    logits = model(**together).logits[:, -1]
    for row, expected in zip(mixed_rows, logits, strict=True):
        alone = model(**processed(processor, [row.question], [row])).logits[0, -1]
        torch.testing.assert_close(alone, expected, atol=2e-5, rtol=0)
    written = model.generate(**together, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    assert written.shape == (3, together["input_ids"].shape[1] + 3)


@torch.no_grad()
def test_a_lost_image_would_show(plain: Plain, mixed_rows: list[Row]) -> None:
    processor, model = plain
    row = mixed_rows[1]
    turned = Row(id="", question=row.question, answer="", solution=None, images=(Sheet(3, width=84),))
    first, second = (model(**processed(processor, [r.question], [r])).logits[0, -1].log_softmax(-1) for r in (row, turned))
    assert (first - second).abs().max() > 0.05


def test_traits_that_make_a_family_hard(family_folder: Callable[[str], Path], mixed_rows: list[Row]) -> None:
    gemma, qwen3, qwen2_5 = (
        AutoModelForImageTextToText.from_pretrained(family_folder(name)).config for name in ("gemma3", "qwen3_vl", "qwen2_5_vl")
    )
    assert set(gemma.text_config.layer_types) == {"sliding_attention", "full_attention"}
    processor = AutoProcessor.from_pretrained(family_folder("gemma3"))
    shortest = processed(processor, [mixed_rows[0].question], mixed_rows[:1])["input_ids"].shape[1]
    assert gemma.text_config.sliding_window < shortest
    assert len(qwen3.vision_config.deepstack_visual_indexes) == 2
    assert qwen2_5.vision_config.window_size < 84
