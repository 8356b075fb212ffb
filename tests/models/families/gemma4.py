"""Gemma 4 with vision and audio, and Gemma 4 Unified without encoders: patches go straight into the decoder.

Windows and full layers have heads of their own sizes, every token a small embedding for each layer, later layers share keys.
"""

from functools import partial

from transformers import (
    Gemma4AudioFeatureExtractor,
    Gemma4Config,
    Gemma4ImageProcessor,
    Gemma4Processor,
    Gemma4UnifiedAudioFeatureExtractor,
    Gemma4UnifiedConfig,
    Gemma4UnifiedImageProcessor,
    Gemma4UnifiedProcessor,
    Gemma4UnifiedVideoProcessor,
    Gemma4VideoProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import Family, text_config
from families.tokens import gemma_like

NAMED = {
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "image_token": "<|image|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
    "audio_token": "<|audio|>",
}
SPECIAL_TOKENS = ("<|turn>", "<turn|>", "<|video|>", *NAMED.values())
SLIDING_WINDOW = 16  # shorter than any prompt
PATCH, SIDE = 7, 3  # pixels of a patch; so many by so many are one token
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|turn>{{ 'model' if message.role == 'assistant' else message.role }}\n"
    "{% if message.content is string %}{{ message.content | trim }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|image|>{% else %}{{ part.text | trim }}{% endif %}{% endfor %}{% endif %}"
    "<turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn>model\n"
    "{% if enable_thinking is defined and enable_thinking %}<|think>{% endif %}{% endif %}"
)
LAYERS = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
TEXT: dict[str, object] = {
    "head_dim": 16,
    "global_head_dim": 32,
    "num_hidden_layers": len(LAYERS),
    "layer_types": LAYERS,
    "sliding_window": SLIDING_WINDOW,
    "final_logit_softcapping": 3.0,
    "tie_word_embeddings": True,
}
CLASSES = {
    "gemma4": (Gemma4Processor, Gemma4ImageProcessor, Gemma4VideoProcessor, Gemma4AudioFeatureExtractor),
    "gemma4_unified": (
        Gemma4UnifiedProcessor,
        Gemma4UnifiedImageProcessor,
        Gemma4UnifiedVideoProcessor,
        Gemma4UnifiedAudioFeatureExtractor,
    ),
}


def _processor(tokenizer: PreTrainedTokenizerBase, *, name: str) -> ProcessorMixin:
    """At most 70 tokens for an image, the fewest that the class allows."""
    processor, images, videos, audio = CLASSES[name]
    sizes = {"patch_size": PATCH, "pooling_kernel_size": SIDE, "max_soft_tokens": 70}
    made: ProcessorMixin = processor(
        audio(), images(**sizes), tokenizer, videos(**sizes), chat_template=TEMPLATE, image_seq_length=70
    )
    return made


def _ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, object]:
    ids = {f"{kind}_id": tokenizer.convert_tokens_to_ids(NAMED[kind]) for kind in NAMED if kind != "eoa_token"}
    more = {"eoa_token_index": NAMED["eoa_token"], "video_token_id": "<|video|>"}
    return {**ids, **{key: tokenizer.convert_tokens_to_ids(token) for key, token in more.items()}}


def _gemma4(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    text = text_config(
        tokenizer,
        "gemma4_text",
        **{**TEXT, "num_kv_shared_layers": 2},
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=len(tokenizer),
        use_bidirectional_attention="vision",
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "patch_size": PATCH,
        "pooling_kernel_size": SIDE,
        "position_embedding_size": 256,
    }
    audio = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "output_proj_dims": 48}
    audio |= {"subsampling_conv_channels": [8, 4]}
    return Gemma4Config(text_config=text, vision_config=vision, audio_config=audio, **_ids(tokenizer))


def _unified(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    vision = {"patch_size": PATCH, "pooling_kernel_size": SIDE, "mm_embed_dim": 48, "mm_posemb_size": 256}
    return Gemma4UnifiedConfig(
        text_config=text_config(tokenizer, "gemma4_unified_text", **TEXT, use_bidirectional_attention="vision"),
        vision_config={**vision, "output_proj_dims": 48},
        audio_config={},
        **_ids(tokenizer),
    )


FAMILIES = {
    name: Family(
        tokenizer=partial(gemma_like, SPECIAL_TOKENS, named=NAMED),
        processor=partial(_processor, name=name),
        config=config,
        stop_tokens=("<eos>", "<turn|>"),
    )
    for name, config in (("gemma4", _gemma4), ("gemma4_unified", _unified))
}
