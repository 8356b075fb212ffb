"""Keys of a model's config that make Transformers fetch or import code, or that read other files: refused by name."""

from collections.abc import Iterator, Mapping
from typing import Any

from transformers import PreTrainedConfig

from vlm_rl.models.attention import IMPLEMENTATIONS

_CHOICES = ("attn_implementation", "experts_implementation")  # a name that is none of Transformers' own is a kernel of the hub
_REFUSED = {
    "use_kernels": "fetches kernels from the hub and runs them",
    "kernel_config": "fetches kernels from the hub and runs them",
    "quantization_config": "imports another library to unpack the weights; runs here train whole weights",
    "transformers_weights": "names another file for the weights",
    "use_pretrained_backbone": "fetches the weights of another model",
    "custom_generate": "runs code of the model's folder",
}
_EXPERTS = ("eager", "grouped_mm", "batched_mm")
_FALSE: tuple[object, ...] = (None, False, {}, [], "")


def check_keys(where: str, config: Mapping[Any, object]) -> None:
    """Raises ValueError for such a key, at any depth; `where` is the file."""
    for path, key, value in _items("", config):
        why = _REFUSED.get(key) if value not in _FALSE else None
        if any(choice in key for choice in _CHOICES):
            own = (*IMPLEMENTATIONS, *_EXPERTS)
            foreign = [name for name in _names(value) if name not in own]
            why = "is not one of Transformers' own: it would be fetched from the hub and run" if foreign else None
        if why is not None:
            raise ValueError(
                f"{where}: {path}={str(value)[:200]!r} {why}. Only data is taken from a model. Take that key out of the file if "
                "the model does without, or take another model (model.name)."
            )


def _items(above: str, config: Mapping[Any, object]) -> Iterator[tuple[str, str, object]]:
    for key, value in config.items():
        path = f"{above}.{key}" if above else str(key)
        yield path, str(key), value
        inner = vars(value) if isinstance(value, PreTrainedConfig) else value
        if isinstance(inner, Mapping):
            yield from _items(path, inner)


def _names(value: object) -> Iterator[object]:
    """One, or one for each part of the model."""
    for name in value.values() if isinstance(value, Mapping) else [value]:
        if name is not None:
            yield name
