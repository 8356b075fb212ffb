"""Aya Vision and Command A Vision: tiles and a small whole image; the decoder scales its logits and sees three windows, then all."""

from functools import partial

from transformers import (
    AyaVisionConfig,
    AyaVisionProcessor,
    Cohere2VisionConfig,
    Cohere2VisionImageProcessor,
    Cohere2VisionProcessor,
    GotOcr2ImageProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import SIGLIP_SIZES, Family, text_config
from families.tokens import llama_like

TURNS = ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>")
OF_IMAGES = ("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL")
SPECIAL_TOKENS = ("<PAD>", "<UNK>", "<BOS_TOKEN>", *TURNS, "<image>", *OF_IMAGES)
TILE, PATCH = 28, 7  # pixels; patches are merged 2 x 2
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|START_OF_TURN_TOKEN|>"
    "{{ '<|CHATBOT_TOKEN|>' if message.role == 'assistant' else '<|USER_TOKEN|>' }}"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{{ IMAGE if part.type == 'image' else part.text }}{% endfor %}{% endif %}<|END_OF_TURN_TOKEN|>{% endfor %}"
    "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"
)
VISION: dict[str, object] = {
    "model_type": "siglip_vision_model",
    "image_size": TILE,
    "patch_size": PATCH,
    **SIGLIP_SIZES,
    "vision_use_head": False,
}
NAMED = {
    "image_token": "<|IMG_PATCH|>",
    "boi_token": "<|START_OF_IMG|>",
    "eoi_token": "<|END_OF_IMG|>",
    "img_line_break_token": "<|IMG_LINE_BREAK|>",
}


def _text(tokenizer: PreTrainedTokenizerBase) -> dict[str, object]:
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    return text_config(tokenizer, "cohere2", head_dim=16, logit_scale=0.25, sliding_window=16, layer_types=layers)


def _aya_processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    images = GotOcr2ImageProcessor(size={"height": TILE, "width": TILE}, crop_to_patches=True, min_patches=1, max_patches=4)
    template = TEMPLATE.replace("IMAGE", "'<image>'")
    return AyaVisionProcessor(images, tokenizer, patch_size=PATCH, img_size=TILE, downsample_factor=2, chat_template=template)


def _command_processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    size = {"height": TILE, "width": TILE}
    images = Cohere2VisionImageProcessor(size=size, min_patches=1, max_patches=4, patch_size=2)  # 2 x 2 tokens for a tile
    return Cohere2VisionProcessor(images, tokenizer, chat_template=TEMPLATE.replace("IMAGE", "'<|IMG_PATCH|>'"))


def _aya_config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    image = tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>")
    return AyaVisionConfig(text_config=_text(tokenizer), vision_config=VISION, image_token_index=image, downsample_factor=2)


def _command_config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    return Cohere2VisionConfig(
        text_config=_text(tokenizer),
        vision_config=VISION,
        image_token_id=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
        alignment_intermediate_size=64,
        downsample_factor=2,
    )


def _family(processor: object, config: object, named: dict[str, str]) -> Family:
    tokenizer = partial(
        llama_like,
        SPECIAL_TOKENS,
        eos="<|END_OF_TURN_TOKEN|>",
        pad="<PAD>",
        bos="<BOS_TOKEN>",
        writes_bos=True,
        named=named,
    )
    return Family(tokenizer=tokenizer, processor=processor, config=config, stop_tokens=("<|END_OF_TURN_TOKEN|>",))  # type: ignore[arg-type]


FAMILIES = {
    "aya_vision": _family(_aya_processor, _aya_config, {}),
    "cohere2_vision": _family(_command_processor, _command_config, NAMED),
}
