"""Qwen3-VL as a mixture of experts: Qwen3-VL's deep stack over layers of experts and one plain layer."""

from dataclasses import replace

from transformers import PreTrainedConfig, PreTrainedTokenizerBase, Qwen3VLMoeConfig

from families import qwen
from families.family import text_config
from families.qwen import VISION, ids_of, rope

EXPERTS: dict[str, object] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "mlp_only_layers": [1]}


def _config(tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    vision = {**VISION, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64, "patch_size": 16}
    vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    turning = rope(mrope_interleaved=True)
    text = text_config(tokenizer, "qwen3_vl_moe_text", head_dim=16, rope_parameters=turning, **EXPERTS)
    return Qwen3VLMoeConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **ids_of(tokenizer))


FAMILIES = {"qwen3_vl_moe": replace(qwen.FAMILIES["qwen3_vl"], config=_config)}
