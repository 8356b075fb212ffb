"""InternVL 3: an image becomes one to a few square tiles and, if there are several, a small whole image."""

from functools import partial

from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLProcessor,
    InternVLVideoProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import SIGLIP_SIZES, Family, text_config
from families.tokens import qwen_like

NAMED = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *NAMED.values())
TILE, PATCH = 28, 7  # pixels; 4 x 4 patches, shuffled 2 x 2: 4 tokens for each tile
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{{ '<IMG_CONTEXT>\n' if part.type == 'image' else part.text }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    size = {"height": TILE, "width": TILE}
    images = GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=4)
    videos = InternVLVideoProcessor(size=size)
    return InternVLProcessor(images, tokenizer, videos, image_seq_length=4, chat_template=TEMPLATE)


def _config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    return InternVLConfig(
        text_config=text_config(tokenizer, "qwen2"),
        vision_config={"image_size": [TILE, TILE], "patch_size": [PATCH, PATCH], **SIGLIP_SIZES},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )


FAMILIES = {
    "internvl": Family(
        tokenizer=partial(qwen_like, SPECIAL_TOKENS, eos="<|im_end|>", pad="<|endoftext|>", named=NAMED),
        processor=_processor,
        config=_config,
        stop_tokens=("<|im_end|>",),
    )
}
