"""The small models of all families in plain Transformers, nothing of ours in between: what the other tests stand on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families.trials import processed
from tiny_runs import Sheet
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from vlm_rl.datasets.row import Row

ONE_IMAGE_TOKENS = {  # of 84 x 56 pixels
    "qwen2_vl": 6,  # 6 x 4 patches of 14, merged 2 x 2
    "qwen2_5_vl": 6,
    "qwen3_vl": 6,  # to 96 x 64, 6 x 4 patches of 16, merged 2 x 2
    "gemma3": 4,  # always
    "smolvlm": 20,  # to 84 x 84, 2 x 2 tiles of 42 and the whole, 4 tokens each
    "idefics3": 20,  # to 56 x 56, 2 x 2 tiles of 28 and the whole, 4 tokens each
    "llava_onevision": 120,  # 3 x 2 tiles of 4 x 4: 96, a line end for each of 8 lines, the whole 16
    "internvl": 20,  # 2 x 2 tiles, the most of those as near to 3:2 as can be, and the whole, 4 tokens each
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe", "qwen4_exp", "qwen3_vl_moe", "lfm3_vl"), 6),  # as qwen3_vl
    **dict.fromkeys(("glm4v", "glm46v", "glm4v_moe", "kimi_k25"), 6),  # 6 x 4 patches of 14, merged 2 x 2
    "lfm2_vl": 8,  # below 2 x 12 x 256 pixels it stays whole: to 64 x 32, 8 x 4 patches of 8, merged 2 x 2
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
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe", "qwen4_exp", "qwen3_vl_moe", "lfm3_vl"), 26),
    **dict.fromkeys(("glm4v", "glm46v", "glm4v_moe", "kimi_k25"), 30),
    "lfm2_vl": 62,  # 2, 3 and 3 tiles of 4 tokens, and the whole as 64 x 32, 80 x 32 and 96 x 32: 8 + 10 + 12
}
KEY_VALUE_HEADS = {"kimi_k25": 4}  # latent attention: each head has its own
THOUGHT = {  # the end of a prompt whose model thinks, and of one that must not, by what its template calls it
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe", "qwen4_exp"), ("enable_thinking", "<think>\n", "<think>\n\n</think>\n\n")),
    **dict.fromkeys(("glm46v", "glm4v_moe"), ("enable_thinking", "<|assistant|>\n", "<|assistant|>\n<think></think>\n")),
    "kimi_k25": ("thinking", "<think>", "<think></think>"),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", ONE_IMAGE_TOKENS)
@torch.no_grad()
def test_the_small_model_is_the_family_s_own_sees_as_many_image_tokens_as_counted_by_hand_and_a_lost_image_would_show(
    family: str, family_folder: Callable[[str], Path], mixed_rows: list[Row]
) -> None:
    folder = family_folder(family)
    model = AutoModelForImageTextToText.from_pretrained(folder, use_safetensors=True).eval()
    processor = AutoProcessor.from_pretrained(folder)
    assert model.config.model_type == family
    assert model.config.get_text_config().num_key_value_heads == KEY_VALUE_HEADS.get(family, 2)
    assert model.num_parameters() < 1e6
    prompts = [processed(processor, [row.question], [row]) for row in mixed_rows]
    counts = [int((prompt["input_ids"] == model.config.image_token_id).sum()) for prompt in prompts]
    assert counts == [0, ONE_IMAGE_TOKENS[family], THREE_IMAGES_TOKENS[family]]
    turned = replace(mixed_rows[1], images=(Sheet(3, width=84),))
    other = processed(processor, [turned.question], [turned])
    first, second = (model(**prompt).logits[0, -1].log_softmax(-1) for prompt in (prompts[1], other))
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


def test_traits_that_make_a_family_of_today_hard(family_folder: Callable[[str], Path]) -> None:
    """Linear attention, convolutions, an index of tokens, n-grams, and experts of which a token sees a few."""
    names = ("qwen3_5", "qwen3_5_moe", "qwen4_exp", "qwen3_vl_moe", "glm4v_moe", "lfm2_vl", "lfm3_vl", "kimi_k25")
    text = {name: AutoConfig.from_pretrained(family_folder(name)).get_text_config() for name in names}
    assert set(text["qwen3_5"].layer_types) == {"linear_attention", "full_attention"}
    assert set(text["qwen4_exp"].layer_types) == {"linear_attention", "indexed_attention"}
    assert text["qwen4_exp"].ple_layer_ids == [1]
    assert set(text["lfm2_vl"].layer_types) == {"conv", "full_attention"}
    assert set(text["lfm3_vl"].layer_types) == {"conv", "sliding_attention", "full_attention"}
    for name in ("qwen3_5_moe", "qwen4_exp", "qwen3_vl_moe", "glm4v_moe", "kimi_k25"):
        model = AutoModelForImageTextToText.from_pretrained(family_folder(name))
        experts = [p for path, p in model.named_parameters() if path.endswith("experts.gate_up_proj")]
        assert {p.shape for p in experts} == {(4, 2 * 32, 64)}
        assert all(float(p.std()) == pytest.approx(64**-0.5, rel=0.05) for p in experts)  # as loud as a plain matrix
        assert text[name].num_experts_per_tok == 2


@pytest.mark.parametrize("family", THOUGHT)
def test_a_template_that_lets_the_model_think_can_be_told_not_to(family: str, family_folder: Callable[[str], Path]) -> None:
    word, thinks, thinks_not = THOUGHT[family]
    processor = AutoProcessor.from_pretrained(family_folder(family))
    turn = [{"role": "user", "content": [{"type": "text", "text": "What is 3 + 4?"}]}]
    for settings, end in (({}, thinks), ({word: True}, thinks), ({word: False}, thinks_not)):
        assert processor.apply_chat_template(turn, add_generation_prompt=True, **settings).endswith(end)
