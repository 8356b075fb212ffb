"""GLM-4.1V, GLM-4.6V and the mixture of experts GLM-4.5V: merged patches as in Qwen, three axes of positions, no BOS but [gMASK]<sop>."""

from functools import partial

from transformers import (
    Glm4vConfig,
    Glm4vImageProcessor,
    Glm4vMoeConfig,
    Glm4vProcessor,
    Glm4vVideoProcessor,
    Glm46VConfig,
    Glm46VImageProcessor,
    Glm46VProcessor,
    Glm46VVideoProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from families.family import Family, text_config
from families.tokens import llama_like

SPECIAL_TOKENS = (
    *("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
    *("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "<|image|>", "<|video|>"),
)
TURNS = (
    "[gMASK]<sop>\n{% for message in messages %}<|{{ message.role }}|>\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|begin_of_image|><|image|><|end_of_image|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}"
)
THINKS = TURNS + "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"  # always: GLM-4.1V-Thinking
MAY_THINK = (  # the others end the user's turn with a word, too
    "{% set quiet = enable_thinking is defined and not enable_thinking %}"
    + TURNS
    + "{{ '/nothink' if quiet and message.role == 'user' else '' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{{ '<think></think>\n' if quiet else '' }}{% endif %}"
)
PATCH = 14
SIZE = {"shortest_edge": 2 * 28**2, "longest_edge": 2**20}  # pixels of two frames: an image counts twice
VISION: dict[str, object] = {
    "depth": 2,
    "num_heads": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "out_hidden_size": 64,
    "image_size": 4 * PATCH,
    "patch_size": PATCH,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
EXPERTS: dict[str, object] = {  # behind one plain layer: the two best of four, and one that all tokens use
    "first_k_dense_replace": 1,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 32,
    "routed_scaling_factor": 1.5,
    "attention_bias": True,
}
END_TOKENS = ("<|endoftext|>", "<|user|>", "<|observation|>")


def _processor(tokenizer: PreTrainedTokenizerBase, *, version: str) -> ProcessorMixin:
    if version == "46v":
        return Glm46VProcessor(
            Glm46VImageProcessor(size=SIZE), tokenizer, Glm46VVideoProcessor(size=SIZE), chat_template=MAY_THINK
        )
    template = THINKS if version == "4v" else MAY_THINK
    images, videos = Glm4vImageProcessor(size=SIZE), Glm4vVideoProcessor(size=SIZE)
    return Glm4vProcessor(images, tokenizer, videos, chat_template=template)


def _config(
    tokenizer: PreTrainedTokenizerBase, *, config: type[PreTrainedConfig], experts: dict[str, object]
) -> PreTrainedConfig:
    """Positions turn half of each head."""
    kind = "glm4v_moe" if experts else "glm4v"
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5}
    places = {"image_start": "<|begin_of_image|>", "image_end": "<|end_of_image|>", "image": "<|image|>"}
    places |= {"video_start": "<|begin_of_video|>", "video_end": "<|end_of_video|>", "video": "<|video|>"}
    return config(
        text_config=text_config(tokenizer, f"{kind}_text", head_dim=16, rope_parameters=rope, **experts),
        vision_config={"model_type": f"{kind}_vision", **VISION},
        tie_word_embeddings=False,
        **{f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in places.items()},
    )


FAMILIES = {
    f"glm{version}": Family(
        tokenizer=partial(llama_like, SPECIAL_TOKENS, eos="<|endoftext|>", pad="<|endoftext|>", bos=None, writes_bos=False),
        processor=partial(_processor, version=version),
        config=partial(_config, config=config, experts=experts),
        stop_tokens=END_TOKENS,
    )
    for version, config, experts in (
        ("4v", Glm4vConfig, dict[str, object]()),
        ("46v", Glm46VConfig, dict[str, object]()),
        ("4v_moe", Glm4vMoeConfig, EXPERTS),
    )
}
