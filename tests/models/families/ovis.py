"""Ovis2: the tower chooses from a table of visual words, and tokens of the image's frame are such words too."""

from functools import partial

from transformers import (
    Ovis2Config,
    Ovis2ImageProcessor,
    Ovis2Processor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import Family, text_config
from families.tokens import qwen_like

FRAME = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<IMG_ATOM>", *FRAME)
TILE, PATCH = 28, 7  # pixels
TOKENS = 4  # of a tile: 4 x 4 patches, merged 2 x 2
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{{ '<image>\n' if part.type == 'image' else part.text }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    images = Ovis2ImageProcessor(size={"height": TILE, "width": TILE}, crop_to_patches=True, min_patches=1, max_patches=4)
    return Ovis2Processor(images, tokenizer, chat_template=TEMPLATE, image_seq_length=TOKENS)


def _config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": TILE,
        "patch_size": PATCH,
        "hidden_stride": 2,
        "vocab_size": 96,
        "num_visual_indicator_tokens": len(FRAME),
    }
    return Ovis2Config(
        text_config=text_config(tokenizer, "qwen2"),
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_ATOM>"),
        visual_indicator_token_ids=tokenizer.convert_tokens_to_ids(list(FRAME)),
        vocab_size=len(tokenizer),
        hidden_size=64,
        tie_word_embeddings=False,
    )


FAMILIES = {
    "ovis2": Family(
        tokenizer=partial(qwen_like, SPECIAL_TOKENS, eos="<|im_end|>", pad="<|endoftext|>"),
        processor=_processor,
        config=_config,
        stop_tokens=("<|im_end|>",),
    )
}
