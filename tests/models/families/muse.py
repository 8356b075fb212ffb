"""Muse Glimmer: a grid of merged patches for each image; the decoder multiplies and caps its logits; some layers turn no position."""

from functools import partial

from transformers import (
    MuseGlimmerConfig,
    MuseGlimmerImageProcessor,
    MuseGlimmerProcessor,
    MuseGlimmerVideoProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import Family, text_config
from families.tokens import llama_like

OF_IMAGES = (
    "<|patch|>",
    "<|image_start|>",
    "<|image_end|>",
    "<|video|>",
    "<|vid_frame_separator|>",
    "<|vid_start|>",
    "<|vid_end|>",
)
SPECIAL_TOKENS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|pad|>",
    "<|header_start|>",
    "<|header_end|>",
    "<|eot|>",
    *OF_IMAGES,
)
PATCH = 14  # pixels; patches are merged 2 x 2
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|header_start|>{{ message.role }}<|header_end|>\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{{ '<|patch|>' if part.type == 'image' else part.text }}{% endfor %}{% endif %}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|header_start|>assistant<|header_end|>\n{% endif %}"
)


def _processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    images = MuseGlimmerImageProcessor(patch_size=PATCH, merge_size=2, max_image_tokens=64)
    videos = MuseGlimmerVideoProcessor(patch_size=PATCH, merge_size=2)
    return MuseGlimmerProcessor(images, videos, tokenizer, chat_template=TEMPLATE)


def _config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    vision = {
        "patch_size": PATCH,
        "pos_emb_height": 8,
        "pos_emb_width": 8,
        "max_position_embeddings": 64,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "layer_types": ["window_attention", "full_attention"],
    }
    text = text_config(
        tokenizer,
        "muse_glimmer_text",
        head_dim=16,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        layer_rope_theta=[10000.0, 0, 10000.0],
        tie_word_embeddings=False,
    )
    return MuseGlimmerConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<|patch|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
        out_hidden_size=128,
        projector_hidden_size=48,
    )


FAMILIES = {
    "muse_glimmer": Family(
        tokenizer=partial(
            llama_like, SPECIAL_TOKENS, eos="<|end_of_text|>", pad="<|pad|>", bos="<|begin_of_text|>", writes_bos=True
        ),
        processor=_processor,
        config=_config,
        stop_tokens=("<|eot|>", "<|end_of_text|>"),
    )
}
