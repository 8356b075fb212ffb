"""Gemma 3: a fixed number of tokens for each image, which see each other both ways; window and full layers in turn."""

from functools import partial

from transformers import (
    Gemma3Config,
    Gemma3ImageProcessor,
    Gemma3Processor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import SIGLIP_SIZES, Family, text_config
from families.tokens import gemma_like

NAMED = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
SPECIAL_TOKENS = ("<start_of_turn>", "<end_of_turn>", *NAMED.values())
IMAGE_TOKENS = 4  # 4 x 4 patches, pooled 2 x 2
SLIDING_WINDOW = 16  # shorter than any prompt
TEMPLATE = (  # the text of each part is trimmed, and the model's role is "model"
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message.role == 'assistant' else message.role }}\n"
    "{% if message.content is string %}{{ message.content | trim }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<start_of_image>{% else %}{{ part.text | trim }}{% endif %}{% endfor %}{% endif %}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def _processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    images = Gemma3ImageProcessor(size={"height": 56, "width": 56}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return Gemma3Processor(images, tokenizer, chat_template=TEMPLATE, image_seq_length=IMAGE_TOKENS)


def _config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in NAMED.items()}
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    text = text_config(
        tokenizer,
        "gemma3_text",
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=SLIDING_WINDOW,
        layer_types=layers,
    )
    return Gemma3Config(
        text_config=text,
        vision_config={"model_type": "siglip_vision_model", "image_size": 56, "patch_size": 14, **SIGLIP_SIZES},
        mm_tokens_per_image=IMAGE_TOKENS,
        boi_token_index=ids["boi_token"],
        eoi_token_index=ids["eoi_token"],
        image_token_index=ids["image_token"],
    )


FAMILIES = {
    "gemma3": Family(
        tokenizer=partial(gemma_like, SPECIAL_TOKENS, named=NAMED),
        processor=_processor,
        config=_config,
        stop_tokens=("<eos>", "<end_of_turn>"),
    )
}
