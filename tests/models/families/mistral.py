"""Mistral Small 3.1 and Ministral 3: a Pixtral tower that keeps each picture's shape, a token that ends each line of patches."""

from functools import partial

from transformers import (
    Mistral3Config,
    PixtralImageProcessor,
    PixtralProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import Family, text_config
from families.tokens import llama_like

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]")
PATCH = 14  # pixels; patches are merged 2 x 2
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'assistant' %}{{ message.content }}{{ eos_token }}{% else %}"
    "[INST]{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{{ '[IMG]' if part.type == 'image' else part.text }}{% endfor %}{% endif %}[/INST]{% endif %}{% endfor %}"
)
VISION: dict[str, object] = {
    "model_type": "pixtral",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "head_dim": 16,
    "image_size": 224,
    "patch_size": PATCH,
}
SCALED_ROPE: dict[str, object] = {  # Ministral 3: YaRN, and queries that are scaled by their position
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 512,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
}


def _processor(tokenizer: PreTrainedTokenizerBase) -> ProcessorMixin:
    images = PixtralImageProcessor(size={"longest_edge": 224}, patch_size={"height": PATCH, "width": PATCH})
    return PixtralProcessor(images, tokenizer, patch_size=PATCH, spatial_merge_size=2, chat_template=TEMPLATE)


def _config(tokenizer: PreTrainedTokenizerBase, *, model_type: str, more: dict[str, object]) -> PreTrainedConfig:
    return Mistral3Config(
        text_config=text_config(tokenizer, model_type, head_dim=16, **more),
        vision_config=VISION,
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
        tie_word_embeddings=False,
    )


FAMILIES = {
    name: Family(
        tokenizer=partial(llama_like, SPECIAL_TOKENS, eos="</s>", pad="<pad>", bos="<s>", writes_bos=True),
        processor=_processor,
        config=partial(_config, model_type=model_type, more=more),
        stop_tokens=("</s>",),
    )
    for name, model_type, more in (
        ("mistral3", "mistral", {"sliding_window": None}),
        ("ministral3", "ministral3", {"rope_parameters": SCALED_ROPE}),
    )
}
