"""LLaVA 1.5, LLaVA-NeXT and Granite 4 Vision: a CLIP-like tower; the last two cut an image into tiles of any resolution.

Granite's tower reaches six places of the decoder, each through a Q-Former of its own.
"""

from functools import partial

from transformers import (
    Granite4VisionConfig,
    Granite4VisionProcessor,
    LlavaConfig,
    LlavaImageProcessor,
    LlavaNextConfig,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import SIGLIP_SIZES, Family, text_config
from families.tokens import llama_like

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
TILE, PATCH = 28, 7  # pixels
PINPOINTS = [[TILE * rows, TILE * columns] for rows in range(1, 4) for columns in range(1, 4)]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ 'ASSISTANT: ' if message.role == 'assistant' else 'USER: ' }}"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{{ '<image>\n' if part.type == 'image' else part.text }}{% endfor %}{% endif %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
CLIP: dict[str, object] = {"model_type": "clip_vision_model", "image_size": TILE, "patch_size": PATCH, **SIGLIP_SIZES}
SCALES: dict[str, object] = {  # of Granite's decoder, none of them 1
    "embedding_multiplier": 2.0,
    "attention_multiplier": 0.5,
    "residual_multiplier": 0.7,
    "logits_scaling": 1.5,
}


def _llava_processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    images = LlavaImageProcessor(size={"shortest_edge": TILE}, crop_size={"height": TILE, "width": TILE})
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the class token, which "default" leaves out
        chat_template=TEMPLATE,
    )


def _tiles_processor(tokenizer: PreTrainedTokenizerBase, *, made_by: type[ProcessorMixin], **more: object) -> ProcessorMixin:
    size = {"height": TILE, "width": TILE}
    images = LlavaNextImageProcessor(size={"shortest_edge": TILE}, crop_size=size, image_grid_pinpoints=PINPOINTS)
    made: ProcessorMixin = made_by(images, tokenizer, patch_size=PATCH, chat_template=TEMPLATE, **more)
    return made


def _llava_config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    return LlavaConfig(
        text_config=text_config(tokenizer, "llama"),
        vision_config=CLIP,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )


def _next_config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    return LlavaNextConfig(
        text_config=text_config(tokenizer, "mistral", sliding_window=None),
        vision_config=CLIP,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
    )


def _granite_config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """Two layers of the tower go to decoder layers 0 and 1, a quarter of the pixels of a third each to 0, 1, 2 and 2."""
    vision = {"model_type": "siglip_vision_model", "image_size": TILE, "patch_size": PATCH, **SIGLIP_SIZES, "hidden_size": 64}
    qformer = {"model_type": "blip_2_qformer", "num_hidden_layers": 1, "intermediate_size": 48, "use_qformer_text_input": False}
    return Granite4VisionConfig(
        text_config=text_config(tokenizer, "granite4_vision_text", **SCALES),
        vision_config={**vision, "vision_use_head": False},
        qformer_config={**qformer, "cross_attention_frequency": 1, "max_position_embeddings": 64},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
        vision_feature_select_strategy="full",
        downsample_rate="1/2",
        deepstack_layer_map=[(-2, 0), (-1, 1)],
        spatial_target_layers=[0, 1, 2, 2],
        projector_dropout=0.0,
    )


def _family(processor: object, config: object) -> Family:
    tokenizer = partial(llama_like, SPECIAL_TOKENS, eos="</s>", pad="<pad>", bos="<s>", writes_bos=True)
    return Family(tokenizer=tokenizer, processor=processor, config=config, stop_tokens=("</s>",))  # type: ignore[arg-type]


FAMILIES = {
    "llava": _family(_llava_processor, _llava_config),
    "llava_next": _family(
        partial(
            _tiles_processor,
            made_by=LlavaNextProcessor,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        ),
        _next_config,
    ),
    "granite4_vision": _family(
        partial(
            _tiles_processor, made_by=Granite4VisionProcessor, vision_feature_select_strategy="full", downsample_rate="1/2"
        ),
        _granite_config,
    ),
}
