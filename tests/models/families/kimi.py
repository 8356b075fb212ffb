"""Kimi K2.5 and K2.6: DeepSeek's latent attention and experts below a tower that takes images at their own size."""

from functools import partial

from transformers import (
    Kimi_K25Config,
    Kimi_K25ImageProcessor,
    Kimi_K25Processor,
    Kimi_K25VideoProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import SIGLIP_SIZES, Family, text_config
from families.tokens import llama_like

SPECIAL_TOKENS = (
    *("[BOS]", "[EOS]", "[PAD]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>"),
    *("<|media_begin|>", "<|media_content|>", "<|media_pad|>", "<|media_end|>", "<|kimi_k25_video_placeholder|>"),
)
TEMPLATE = (  # its word for thinking is `thinking`
    "{% for message in messages %}<|im_{{ message.role }}|>{{ message.role }}<|im_middle|>"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|media_begin|>image<|media_content|><|media_pad|><|media_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>"
    "{{ '<think></think>' if thinking is defined and not thinking else '<think>' }}{% endif %}"
)
LATENT: dict[str, object] = {  # queries, keys and values through narrow matrices; 8 of 16 places of a head turn
    "num_key_value_heads": 4,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
}
EXPERTS: dict[str, object] = {  # behind one plain layer: two of four, from the better of two groups, and one for all tokens
    "first_k_dense_replace": 1,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "n_group": 2,
    "topk_group": 1,
    "moe_intermediate_size": 32,
}


def _processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    return Kimi_K25Processor(Kimi_K25ImageProcessor(), tokenizer, Kimi_K25VideoProcessor(), chat_template=TEMPLATE)


def _config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    places = {"image": "<|media_pad|>", "video": "<|kimi_k25_video_placeholder|>"}
    places |= {"vision_start": "<|media_begin|>", "vision_end": "<|media_end|>"}
    return Kimi_K25Config(
        text_config=text_config(tokenizer, "deepseek_v3", **LATENT, **EXPERTS),
        vision_config={**SIGLIP_SIZES, "pos_emb_height": 8, "pos_emb_width": 8},
        projection_hidden_size=32,
        tie_word_embeddings=False,
        **{f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in places.items()},
    )


FAMILIES = {
    "kimi_k25": Family(
        tokenizer=partial(llama_like, SPECIAL_TOKENS, eos="[EOS]", pad="[PAD]", bos="[BOS]", writes_bos=False),
        processor=_processor,
        config=_config,
        stop_tokens=("<|im_end|>", "[EOS]"),
    )
}
