"""Idefics3 and SmolVLM: an image is split into rows and columns of tiles, each with its name, and a small whole image."""

from functools import partial

from transformers import (
    Idefics3Config,
    Idefics3ImageProcessor,
    Idefics3Processor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    SmolVLMConfig,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

from families.family import SIGLIP_SIZES, Family, text_config
from families.tokens import llama_like

TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
IMAGE_TOKENS = ("<fake_token_around_image>", "<image>", "<global-img>", *TILES)
SMOL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<end_of_utterance>", *IMAGE_TOKENS)
LLAMA_TOKENS = ("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<end_of_utterance>", *IMAGE_TOKENS)
TURNS = (
    "{% for message in messages %}{{ message.role | capitalize }}"
    "{{ ':' if message.content[0].type == 'image' else ': ' }}"
    "{% for part in message.content %}{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
SMOL_TILE, LLAMA_TILE, PATCH = 42, 28, 7  # pixels: 6 x 6 patches by 3 x 3, 4 x 4 by 2 x 2, so 4 tokens for each tile


def _images(tile: int) -> dict[str, object]:
    return {
        "size": {"longest_edge": 2 * tile},
        "max_image_size": {"longest_edge": tile},
        "do_image_splitting": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }


def _smolvlm_processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    videos = SmolVLMVideoProcessor(
        size={"longest_edge": SMOL_TILE}, max_image_size={"longest_edge": SMOL_TILE}, video_sampling={"fps": 1, "max_frames": 4}
    )
    images = SmolVLMImageProcessor(**_images(SMOL_TILE))
    return SmolVLMProcessor(images, tokenizer, videos, image_seq_len=4, chat_template="<|im_start|>" + TURNS)


def _idefics3_processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    images = Idefics3ImageProcessor(**_images(LLAMA_TILE))
    return Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template="<|begin_of_text|>" + TURNS)


def _config(
    tokenizer: PreTrainedTokenizerBase, *, config: type[PreTrainedConfig], vision: str, tile: int, scale: int
) -> PreTrainedConfig:
    return config(
        text_config=text_config(tokenizer, "llama"),
        vision_config={"model_type": vision, "image_size": tile, "patch_size": PATCH, **SIGLIP_SIZES},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=scale,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )


FAMILIES = {
    "smolvlm": Family(
        tokenizer=partial(
            llama_like, SMOL_TOKENS, eos="<end_of_utterance>", pad="<|im_end|>", bos="<|im_start|>", writes_bos=False
        ),
        processor=_smolvlm_processor,
        config=partial(_config, config=SmolVLMConfig, vision="smolvlm_vision", tile=SMOL_TILE, scale=3),
        stop_tokens=("<end_of_utterance>",),
    ),
    "idefics3": Family(
        tokenizer=partial(
            llama_like,
            LLAMA_TOKENS,
            eos="<|end_of_text|>",
            pad="<|reserved_special_token_0|>",
            bos="<|begin_of_text|>",
            writes_bos=True,
        ),
        processor=_idefics3_processor,
        config=partial(_config, config=Idefics3Config, vision="idefics3_vision", tile=LLAMA_TILE, scale=2),
        stop_tokens=("<|end_of_text|>", "<end_of_utterance>"),
    ),
}
