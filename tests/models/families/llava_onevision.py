"""LLaVA-OneVision: one image is cut into tiles of any resolution, several images of a row get one tile each; images first."""

from functools import partial

from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import SIGLIP_SIZES, Family, text_config
from families.tokens import qwen_like

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
TILE, PATCH = 28, 7  # pixels
PINPOINTS = [[TILE * rows, TILE * columns] for rows in range(1, 4) for columns in range(1, 4)]
TEMPLATE = (  # the images of a message come before its texts, wherever they stood
    "{% for message in messages %}<|im_start|>{{ message.role }} "
    "{% for part in message.content if part.type == 'image' %}<image>{% endfor %}"
    "{% for part in message.content if part.type == 'text' %}\n{{ part.text }}{% endfor %}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    size = {"height": TILE, "width": TILE}
    return LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(
            size=size, image_grid_pinpoints=PINPOINTS, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_pad=True
        ),
        tokenizer,
        LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=(TILE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    )


def _config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    vision = {"model_type": "siglip_vision_model", "image_size": TILE, "patch_size": PATCH, **SIGLIP_SIZES}
    return LlavaOnevisionConfig(
        text_config=text_config(tokenizer, "qwen2"),
        vision_config={**vision, "vision_use_head": False},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=PINPOINTS,
    )


FAMILIES = {
    "llava_onevision": Family(
        tokenizer=partial(qwen_like, SPECIAL_TOKENS, eos="<|im_end|>", pad="<|endoftext|>"),
        processor=_processor,
        config=_config,
        stop_tokens=("<|im_end|>",),
    )
}
