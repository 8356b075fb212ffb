"""Qwen3.5, its mixture of experts, and Qwen4-Exp: linear attention beside full attention, and a template that lets the model think."""

from functools import partial

from transformers import (
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    Qwen3_5Config,
    Qwen3_5MoeConfig,
    Qwen3_5Tokenizer,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    Qwen4ExpConfig,
)

from families.family import Family, text_config
from families.qwen import SPECIAL_TOKENS, VISION, ids_of, images_of, rope
from families.tokens import qwen_like

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{{ '<think>\n\n</think>\n\n' if enable_thinking is defined and not enable_thinking else '<think>\n' }}{% endif %}"
)
PATCH = 16
LINEAR: dict[str, object] = {  # linear attention: two value heads share a key head
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
EXPERTS: dict[str, object] = {  # two of four for each token, and one that all tokens use
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
}
QWEN4_EXP: dict[
    str, object
] = {  # n-grams of the prompt as embeddings of layer 1, four residual streams, an index of full attention
    "layer_types": ["linear_attention", "indexed_attention", "linear_attention"],
    "hc_count": 4,
    "hc_lowrank": 8,
    "ple_layer_ids": [1],
    "ple_embed_dim": 16,
    "ngram_size": 3,
    "heads_per_ngram": 2,
    "ngram_vocab_size_base": 200,
    "make_ngram_vocab_size_divisible_by": 8,
    "split_ngram_parts": 2,
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 16,
    "indexer_budget": 16,
    "indexer_compress_ratio": 2,
}


def _config(
    tokenizer: PreTrainedTokenizerBase, *, config: type[PreTrainedConfig], model_type: str, more: dict[str, object]
) -> PreTrainedConfig:
    """Half of each head turns with the position, the other half has none."""
    vision = {**VISION, "depth": 2, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64, "patch_size": PATCH}
    turning = rope(mrope_interleaved=True, mrope_section=[2, 1, 1], partial_rotary_factor=0.5)
    layers = ["linear_attention", "full_attention", "linear_attention"]
    text = text_config(
        tokenizer, f"{model_type}_text", head_dim=16, rope_parameters=turning, **{"layer_types": layers, **LINEAR, **more}
    )
    return config(
        text_config=text,
        vision_config={**vision, "num_position_embeddings": 64},
        tie_word_embeddings=False,
        **ids_of(tokenizer),
    )


def _processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    return Qwen3VLProcessor(images_of(PATCH), tokenizer, Qwen3VLVideoProcessor(), chat_template=TEMPLATE)


FAMILIES = {
    model_type: Family(
        tokenizer=partial(qwen_like, SPECIAL_TOKENS, eos="<|im_end|>", pad="<|endoftext|>", made_by=Qwen3_5Tokenizer),
        processor=_processor,
        config=partial(_config, config=config, model_type=model_type, more=more),
        stop_tokens=("<|im_end|>", "<|endoftext|>"),
    )
    for model_type, config, more in (
        ("qwen3_5", Qwen3_5Config, dict[str, object]()),
        ("qwen3_5_moe", Qwen3_5MoeConfig, EXPERTS),
        ("qwen4_exp", Qwen4ExpConfig, {**EXPERTS, **QWEN4_EXP}),
    )
}
