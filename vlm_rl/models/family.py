"""What the loop needs of a model's family, read from its config, classes and processor: there is no list of family names."""

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.modeling_outputs import BaseModelOutputWithPast

NEVER_WRITTEN = re.compile(  # keys of configs
    r"^(image|video|vision|visual|audio|boi|eoi|boa|eoa)_(\w+_)?(token_(id|index)|token_ids|token_indices)$"
)
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
    ids = {*_never_written(vlm.config), *(i for i in processor.image_token_ids if i is not None)} - {*stop_ids(vlm, processor)}
    banned = torch.zeros(vlm.get_output_embeddings().weight.shape[0], dtype=torch.bool)
    banned[[i for i in ids if 0 <= i < len(banned)]] = True  # Gemma's image id lies outside of the vocabulary of some sizes
    return banned


def _never_written(config: PreTrainedConfig) -> Iterator[int]:
    """Ids that the config and those of its parts name, alone or in lists."""
    for key, value in vars(config).items():
        if NEVER_WRITTEN.match(key):
            yield from [i for i in (value if isinstance(value, list | tuple) else [value]) if isinstance(i, int)]
        elif key in config.sub_configs and isinstance(value, PreTrainedConfig):
            yield from _never_written(value)


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
    """From last hidden states to logits, by the model's own forward around a stand-in for what comes before its head.

    So soft caps, scales and whatever else a family does to its logits are its own. No weight is copied.
    """
    tail, given = copy.copy(vlm), _Given()
    tail._modules = {**vlm._modules, "model": given}
    ids = torch.zeros(1, 1, dtype=torch.long, device=vlm.device)

    def logits(hidden: Tensor) -> Tensor:
        given.hidden = hidden[None]
        result: Tensor = type(vlm).forward(tail, input_ids=ids, use_cache=False, return_dict=True).logits[0]
        return result

    return logits


class _Given(nn.Module):
    """In the place of a model without its head: returns the hidden states that it was given."""

    hidden: Tensor

    def forward(self, *_: object, **__: object) -> BaseModelOutputWithPast:
        return _Output(last_hidden_state=self.hidden)


class _Output(BaseModelOutputWithPast):  # type: ignore[misc]  # Transformers declares no types here
    """What a family has beside its hidden states is None."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def check_class(vlm: PreTrainedModel, *, name: str) -> None:
    """Raise ValueError where the class is not built as the loop needs: a decoder `model` below a head that makes logits."""
    inner, head = vlm._modules.get("model"), vlm.get_output_embeddings()
    if vlm.config.is_encoder_decoder:
        missing = "it is an encoder with a decoder, and only decoders that read the prompt themselves are trained here"
    elif inner is None or not isinstance(head, nn.Module) or not hasattr(head, "weight"):
        missing = "it has no part `model` below an output embedding, as the vision-language models of today have"
    elif lacking := [key for key in _OF_FORWARD if not _takes(inner, key)]:
        missing = f"its part `model` takes no {' and no '.join(lacking)}"
    else:
        return
    raise ValueError(
        f"model.name={name} is a {type(vlm).__name__}, which cannot be trained here: {missing}. Take another model, as in conf/model/."
    )


_OF_FORWARD = ("input_ids", "attention_mask", "position_ids", "past_key_values")


def _takes(module: nn.Module, name: str) -> bool:
    return name in inspect.signature(module.forward).parameters


def hold_statistics(vlm: nn.Module) -> None:
    """Keep norms with running statistics in evaluation mode, whoever trains the model: in place, and in copies of it.

    Otherwise a frozen tower would normalise by the batch while training, and its statistics would drift.
    """
    for module in vlm.modules():
        if getattr(module, "running_mean", None) is not None:
            module.eval()
            module.train = _stays.__get__(module)  # type: ignore[method-assign]


def _stays(self: nn.Module, mode: bool = True) -> nn.Module:
    """In the place of `train`."""
    return self
