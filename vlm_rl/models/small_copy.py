"""A small model of random weights of the same classes: what preflight checks a family by, as it reads no weights.

Widths, heads, experts and layers of every part are cut down, each kind of layer stays; vocabulary, patches, positions and ids stay,
so that the model's own processor fits. Configs have no common schema: keys are known by their usual names.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, ProcessorMixin

HEADS = 2
HEAD_DIM = 16
WIDTH = 64
MOST_KINDS = 8  # of layers; a list with more different entries has a number of its own for each layer
_HIDDEN = ("hidden_size", "embed_dim", "d_model", "n_embd", "width", "hidden_dim")  # the width of a part
_HEADS = re.compile(r"^(num_attention_heads|num_heads|n_head|num_query_heads|\w*attention_heads)$")
_OF_HEADS = re.compile(rf"{_HEADS.pattern}|key_value_heads|kv_heads")
_LINEAR_HEADS = ("linear_num_key_heads", "linear_num_value_heads")
_LAYERS = re.compile(r"^(num_layers|depth|n_layers?|\w*(encoder|decoder|hidden)_layers)$")
_PLACES = re.compile(r"(layers?|layer_ids?|index(es)?|indices|blocks?|idxs?)$")  # numbers of layers
_FOLLOWING = re.compile(r"hidden|dim|width|embed|channels|size")
_AT_MOST = (
    (re.compile(r"^(num_(local_|routed_)?experts|n_routed_experts|moe_num_experts)$"), 4),
    (re.compile(r"experts_per_tok|top_k_experts|moe_top_?k|num_selected_experts|moe_k$"), 2),
    (re.compile(r"^(n_group|topk_group|first_k_dense_replace)$"), 1),
    (re.compile(r"intermediate|ffn_(hidden|dim)|mlp_(hidden|dim)"), WIDTH),
    (re.compile(r"lora_rank$|^hidden_size_per_layer_input$"), HEAD_DIM),
)


def write_small_copy(config: PreTrainedConfig, folder: Path, *, processor: ProcessorMixin) -> None:
    """Write the config of a model in small, and its processor, into a folder, with no weights."""
    shrunk(config).save_pretrained(folder)
    processor.save_pretrained(folder)


def make_loud(model: nn.Module) -> None:
    """Draw weights that all matter: matrices keep the size of what goes through them, and nothing stays at exactly 0 or 1.

    Transformers' own initialisation is so faint at a small width that wrong positions or a lost image would hardly show.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                matrix = parameter[0] if ".experts." in name and parameter.ndim > 2 else parameter  # a matrix for each expert
                parameter.copy_(noise / matrix[0].numel() ** 0.5)
            else:
                parameter.add_(0.1 * noise)
        for name, buffer in model.named_buffers():
            if name.endswith("correction_bias"):  # of a router
                buffer.add_(0.1 * torch.randn(buffer.shape, generator=generator))


def shrunk(config: PreTrainedConfig) -> PreTrainedConfig:
    """A copy of the config in small. Raise whatever the class raises where its settings do not fit together any more."""
    settings = config.to_dict()
    widths: dict[int, int] = {}
    _shrink(settings, widths)
    _follow(settings, widths)
    return type(config).from_dict(settings)


def _shrink(settings: dict[str, Any], widths: dict[int, int]) -> None:
    """One part of a config and what is inside of it, in place; notes old and new width of each part, the text part's last."""
    for name, inner in sorted(settings.items(), key=lambda item: "text" in item[0]):
        if name.endswith("config") and isinstance(inner, dict):
            _shrink(inner, widths)
    _shrink_layers(settings)
    _shrink_width(settings, widths)
    for key, value in settings.items():
        if _is_count(value):
            settings[key] = min([value, *(most for pattern, most in _AT_MOST if pattern.search(key))])


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _shrink_layers(settings: dict[str, Any]) -> None:
    """So many of the first layers that each kind is among them, two at least; lists and numbers of layers follow."""
    key = next((key for key, value in settings.items() if _LAYERS.search(key) and _is_count(value)), None)
    if key is None:
        return
    old = settings[key]
    of_layers = [value for value in settings.values() if isinstance(value, list) and len(value) == old]
    kinds = max([_first_with_all(value) for value in of_layers if len(set(map(str, value))) <= MOST_KINDS], default=2)
    new = min(old, max(2, kinds))
    shared = settings.get("num_kv_shared_layers") or 0
    if shared:
        settings["num_kv_shared_layers"], new = new, min(old, 2 * new)
    for name, value in list(settings.items()):
        if _LAYERS.search(name) and value == old:
            settings[name] = new
        elif isinstance(value, list) and len(value) == old:
            settings[name] = value[:new]
        elif name == "per_layer_config" and value:
            settings[name] = {layer: own for layer, own in value.items() if int(layer) < new}
        elif _PLACES.search(name):
            settings[name] = _places(value, new)


def _first_with_all(values: list[Any]) -> int:
    """Length of the shortest beginning that holds every value of the list."""
    texts = [str(value) for value in values]
    return max(texts.index(text) for text in set(texts)) + 1


def _places(value: Any, count: int) -> Any:
    """Numbers of layers, moved into a model of `count` layers."""
    if isinstance(value, list) and value and all(isinstance(v, int) and not isinstance(v, bool) for v in value):
        kept = [v for v in value if -count <= v < count]
        return kept or list(range(min(len(value), count)))
    if isinstance(value, int) and not isinstance(value, bool) and not -count <= value < count and value < 1000:
        return count - 1 if value > 0 else -1
    return value


def _shrink_width(settings: dict[str, Any], widths: dict[int, int]) -> None:
    """Fewer heads of one part, and as wide as they are together; of the text part a head keeps its size."""
    hidden = next((key for key in _HIDDEN if _is_count(settings.get(key))), None)
    if hidden is None:
        return
    old, new = settings[hidden], min(settings[hidden], WIDTH)
    heads = next((value for key, value in settings.items() if _HEADS.search(key) and _is_count(value)), None)
    if heads is not None and not settings.get("head_dim"):
        keeps = "vocab_size" in settings  # sections of rotary embeddings add up to half of a head
        new = min(heads, HEADS) * (old // heads if keeps else min(old // heads, HEAD_DIM))
    for key, value in settings.items():
        if heads is not None and _OF_HEADS.search(key) and _is_count(value):
            settings[key] = max(1, value * min(heads, HEADS) // heads)
    of_keys = settings.get(_LINEAR_HEADS[0])
    for key in _LINEAR_HEADS:
        if _is_count(of_keys) and _is_count(settings.get(key)):
            settings[key] = settings[key] * HEADS // of_keys
    settings[hidden] = new
    widths[old] = new


def _follow(settings: dict[str, Any], widths: dict[int, int]) -> None:
    """Other settings that were equal to the width of a part follow it."""
    for key, value in settings.items():
        if key.endswith("config") and isinstance(value, dict):
            _follow(value, widths)
        elif _is_count(value) and value in widths and _FOLLOWING.search(key) and key not in _HIDDEN and "vocab" not in key:
            settings[key] = widths[value]
