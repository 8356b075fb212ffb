"""LFM2-VL and LFM3-VL: short convolutions beside attention; the first cuts large images into tiles, the second keeps a grid of patches."""

from functools import partial

from transformers import (
    Lfm2VlConfig,
    Lfm2VlImageProcessor,
    Lfm2VlProcessor,
    Lfm3VlConfig,
    Lfm3VlProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    Qwen3VLVideoProcessor,
)

from families.family import SIGLIP_SIZES, Family, text_config
from families.qwen import images_of
from families.tokens import llama_like

TURN_TOKENS = ("<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>")
TILES = tuple(f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5))
LFM2_TOKENS = (*TURN_TOKENS, "<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>", *TILES)
LFM3_TOKENS = (*TURN_TOKENS, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TURNS = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{{ IMAGE if part.type == 'image' else part.text }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LFM2_PATCH, LFM3_PATCH, TILE = 8, 16, 32  # pixels; patches are merged 2 x 2, so 4 tokens for each tile of LFM2-VL
LFM2_LAYERS = ["conv", "full_attention", "conv"]
LFM3_LAYERS = ["conv", "sliding_attention", "full_attention", "conv"]
SLIDING_WINDOW = 16  # shorter than any prompt


def _lfm2_processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    """Up to 12 tokens for an image as a whole; from twice as many pixels on it is cut."""
    images = Lfm2VlImageProcessor(
        encoder_patch_size=LFM2_PATCH,
        tile_size=TILE,
        min_image_tokens=2,
        max_image_tokens=12,
        max_tiles=4,
        max_pixels_tolerance=2.0,
    )
    return Lfm2VlProcessor(images, tokenizer, chat_template=TURNS.replace("IMAGE", "'<image>'"))


def _lfm2_config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    text = text_config(tokenizer, "lfm2", layer_types=LFM2_LAYERS, block_multiple_of=32)
    vision = {"model_type": "siglip2_vision_model", "patch_size": LFM2_PATCH, "num_patches": 16, **SIGLIP_SIZES}
    return Lfm2VlConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        projector_hidden_size=48,
    )


def _lfm3_processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    template = TURNS.replace("IMAGE", "'<|vision_start|><|image_pad|><|vision_end|>'")
    return Lfm3VlProcessor(images_of(LFM3_PATCH), tokenizer, Qwen3VLVideoProcessor(), chat_template=template)


def _lfm3_config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    places = {"image": "<|image_pad|>", "video": "<|video_pad|>", "vision_start": "<|vision_start|>"}
    places |= {"vision_end": "<|vision_end|>"}
    text = text_config(
        tokenizer,
        "lfm3",
        num_hidden_layers=len(LFM3_LAYERS),
        layer_types=LFM3_LAYERS,
        head_dim=16,
        sliding_window=SLIDING_WINDOW,
    )
    vision = {**SIGLIP_SIZES, "num_key_value_heads": 1, "layer_types": ["conv", "full_attention"], "patch_size": LFM3_PATCH}
    return Lfm3VlConfig(
        text_config=text,
        vision_config=vision,
        projector_hidden_size=48,
        **{f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in places.items()},
    )


FAMILIES = {
    name: Family(
        tokenizer=partial(llama_like, tokens, eos="<|im_end|>", pad="<|pad|>", bos="<|startoftext|>", writes_bos=True),
        processor=processor,
        config=config,
        stop_tokens=("<|im_end|>",),
    )
    for name, tokens, processor, config in (
        ("lfm2_vl", LFM2_TOKENS, _lfm2_processor, _lfm2_config),
        ("lfm3_vl", LFM3_TOKENS, _lfm3_processor, _lfm3_config),
    )
}
