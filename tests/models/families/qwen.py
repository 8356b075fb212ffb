"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: a grid of merged patches for each image, three axes of positions, images in place."""

from functools import partial

from transformers import (
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from families.family import Family, text_config
from families.tokens import qwen_like

SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
SYSTEM = (  # Qwen2-VL and Qwen2.5-VL write one where the messages have none; Qwen3-VL does not
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
)
TURNS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VISION: dict[str, object] = {"depth": 3, "num_heads": 2, "in_channels": 3, "spatial_merge_size": 2, "temporal_patch_size": 2}


def ids_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The ids that a config of Qwen asks for."""
    names = ("image_token", "video_token", "vision_start_token", "vision_end_token")
    texts = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    return {f"{name}_id": tokenizer.convert_tokens_to_ids(text) for name, text in zip(names, texts, strict=True)}


def rope(**more: object) -> dict[str, object]:
    """Positions on three axes: time, height and width."""
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3], **more}


def _qwen2(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    vision = {**VISION, "embed_dim": 32, "mlp_ratio": 2, "hidden_size": 64, "patch_size": 14}
    text = text_config(tokenizer, "qwen2_vl_text", rope_parameters=rope())
    return Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids_of(tokenizer))


def _qwen2_5(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    vision = {**VISION, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64, "patch_size": 14}
    vision |= {"window_size": 56, "fullatt_block_indexes": [1]}  # 2 x 2 merged patches; layers 0 and 2 see one window
    text = text_config(tokenizer, "qwen2_5_vl_text", rope_parameters=rope())
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **ids_of(tokenizer))


def _qwen3(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    vision = {**VISION, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64, "patch_size": 16}
    vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    text = text_config(tokenizer, "qwen3_vl_text", head_dim=16, rope_parameters=rope(mrope_interleaved=True))
    return Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids_of(tokenizer))


def images_of(patch: int) -> Qwen2VLImageProcessor:
    """Images keep their size, rounded to 2 x 2 patches of `patch` pixels; no fewer than 16 patches."""
    return Qwen2VLImageProcessor(
        patch_size=patch, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 16 * patch**2, "longest_edge": 2**20}
    )


def _processor(tokenizer: PreTrainedTokenizerBase, *, version: str) -> ProcessorMixin:
    patch = 16 if version == "3" else 14
    processor, videos = {
        "2": (Qwen2VLProcessor, Qwen2VLVideoProcessor),
        "2.5": (Qwen2_5_VLProcessor, Qwen2VLVideoProcessor),
        "3": (Qwen3VLProcessor, Qwen3VLVideoProcessor),
    }[version]
    template = TURNS if version == "3" else SYSTEM + TURNS
    made: ProcessorMixin = processor(images_of(patch), tokenizer, videos(), chat_template=template)
    return made


FAMILIES = {
    f"qwen{version.replace('.', '_')}_vl": Family(
        tokenizer=partial(qwen_like, SPECIAL_TOKENS, eos="<|im_end|>", pad="<|endoftext|>"),
        processor=partial(_processor, version=version),
        config=config,
        stop_tokens=("<|im_end|>", "<|endoftext|>"),
    )
    for version, config in (("2", _qwen2), ("2.5", _qwen2_5), ("3", _qwen3))
}
