"""A model cut down to run in a second: the same classes, every kind of layer, the same ids and patches."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from vlm_rl.models.small_copy import shrunk

LARGEST = 100_000_000  # parameters, most of them in tables of 260,000 tokens
FAMILIES = (
    *("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "gemma3", "gemma4", "internvl", "llava_onevision"),
    *("smolvlm", "mistral3", "lfm2_vl", "lfm3_vl", "kimi_k25", "minicpmv4_6", "aya_vision", "muse_glimmer", "ovis2"),
)


def in_order(values: list[Any]) -> list[str]:
    return list(dict.fromkeys(map(str, values)))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_small_copy_keeps_kinds_of_layers_and_ids_and_reads_a_text(family: str) -> None:
    whole = AutoConfig.for_model(family)
    small = shrunk(whole)
    text, before = small.get_text_config(), whole.get_text_config()
    assert type(small) is type(whole) and text.vocab_size == before.vocab_size
    assert text.num_hidden_layers < before.num_hidden_layers
    for key in ("layer_types", "mlp_layer_types"):
        if getattr(before, key, None):
            assert in_order(getattr(text, key)) == in_order(getattr(before, key))
    model = AutoModelForImageTextToText.from_config(small).eval()
    assert model.num_parameters() < LARGEST
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        assert model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.isfinite().all()


def test_widths_that_belong_together_stay_equal() -> None:
    """Qwen2.5-VL-7B: heads of 128, seven of which share keys; what the tower hands over is as wide as the decoder."""
    sizes = {"hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4, "num_hidden_layers": 28}
    vision = {
        "hidden_size": 1280,
        "out_hidden_size": 3584,
        "depth": 32,
        "num_heads": 16,
        "fullatt_block_indexes": [7, 15, 23, 31],
    }
    small = shrunk(AutoConfig.for_model("qwen2_5_vl", text_config=sizes, vision_config=vision))
    text, tower = small.get_text_config(), small.vision_config
    assert (text.num_hidden_layers, text.num_attention_heads, text.num_key_value_heads, text.hidden_size) == (2, 2, 1, 256)
    assert (tower.depth, tower.num_heads, tower.hidden_size, tower.out_hidden_size) == (2, 2, 32, 256)
    assert (tower.fullatt_block_indexes, tower.patch_size, tower.window_size) == ([0, 1], 14, 112)
