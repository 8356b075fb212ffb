"""What the loop needs of a model's family, read from its config, classes and processor: there is no list of family names."""

import inspect
import re
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

NEVER_WRITTEN = re.compile(r"^(image|video|vision|audio|boi|eoi)_(\w+_)?token_(id|index)$")  # keys of configs
TOKEN_TYPES = ("mm_token_type_ids", "token_type_ids")  # 1 where an image token stands; Qwen-VL's name, Gemma's name
OF_TEXT = frozenset({"input_ids", "attention_mask", *TOKEN_TYPES})  # what a processor returns besides its images


def arguments(function: Callable[..., object], offered: Mapping[str, object]) -> dict[str, object]:
    """Those of the values that the function has a parameter for."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in offered.items() if name in known}


def stop_ids(vlm: PreTrainedModel, processor: ProcessorMixin) -> list[int]:
    """All ids that end a response: the generation config's, not the tokenizer's only one."""
    eos = vlm.generation_config.eos_token_id
    ids = eos if isinstance(eos, list) else [eos]
    return [i for i in ids if i is not None] or [processor.tokenizer.eos_token_id]


def banned_ids(vlm: PreTrainedModel, processor: ProcessorMixin) -> Bool[Tensor, " vocab"]:
    """True = an id that stands for an image or frames one: were it sampled, images and their places would not match."""
    named = {key: value for key, value in vlm.config.to_dict().items() if NEVER_WRITTEN.match(key)}
    ids = {value for value in named.values() if isinstance(value, int)}
    ids |= {vlm.config.image_token_id, *(i for i in processor.image_token_ids if i is not None)}
    banned = torch.zeros(vlm.get_output_embeddings().weight.shape[0], dtype=torch.bool)
    banned[[i for i in ids if i < len(banned)]] = True  # Gemma's image id lies outside of the vocabulary of some sizes
    return banned


def types_name(vlm: PreTrainedModel) -> str | None:
    """The name of the model's parameter for the places of image tokens; None where it has no such parameter."""
    known = inspect.signature(vlm.model.forward).parameters
    return next((name for name in TOKEN_TYPES if name in known), None)


def position_ids(
    vlm: PreTrainedModel, ids: Int[Tensor, "1 query"], types: Int[Tensor, "1 query"], inputs: Mapping[str, Tensor]
) -> Int[Tensor, "axis 1 query"]:
    """The model's own positions of one prompt: 3-D multimodal RoPE where it has one, else a count of the tokens (1 axis)."""
    if not hasattr(vlm.model, "get_rope_index"):
        return torch.arange(ids.shape[1])[None, None]
    offered = {"mm_token_type_ids": types, "attention_mask": torch.ones_like(ids), **inputs}
    positions: Tensor = vlm.model.get_rope_index(ids, **arguments(vlm.model.get_rope_index, offered))[0]
    return positions


def head_of(vlm: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    """From last hidden states to logits, as the model's own forward ends: soft cap and scales of the config included."""
    head, config = vlm.get_output_embeddings(), vlm.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    factor = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)

    def logits(hidden: Tensor) -> Tensor:
        result: Tensor = head(hidden)
        result = result if factor == 1.0 else result * factor
        return result if cap is None else torch.tanh(result / cap) * cap

    return logits
