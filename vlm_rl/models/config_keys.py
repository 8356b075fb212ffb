"""Checks of a model's config: no key that fetches or runs code, and dropout set to 0."""

from collections.abc import Iterator, Mapping
from typing import Any

from transformers import PreTrainedConfig

from vlm_rl.models.attention import IMPLEMENTATIONS
from vlm_rl.models.attention import as_model_attention as as_model_attention

_CHOICES = ("attn_implementation", "experts_implementation")  # a name that is none of Transformers' own is a kernel of the hub
_REFUSED = {
    "use_kernels": "fetches kernels from the hub and runs them",
    "kernel_config": "fetches kernels from the hub and runs them",
    "quantization_config": "imports another library to unpack the weights; model.quantization=nf4 packs those of the whole model here",
    "transformers_weights": "names another file for the weights",
    "use_pretrained_backbone": "fetches the weights of another model",
    "custom_generate": "runs code of the model's folder",
}
_EXPERTS = ("eager", "grouped_mm", "batched_mm")
_FALSE: tuple[object, ...] = (None, False, {}, [], "")


def check_keys(where: str, config: Mapping[Any, object]) -> None:
    """Raise ValueError for a key that fetches or runs code, at any depth; `where` is the file."""
    for path, key, value in _items("", config):
        why = _REFUSED.get(key) if value not in _FALSE else None
        if any(choice in key for choice in _CHOICES):
            own = (*IMPLEMENTATIONS, *_EXPERTS)
            names = value.values() if isinstance(value, Mapping) else [value]  # one, or one for each part of the model
            foreign = [name for name in names if name is not None and name not in own]
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


def without_dropout(config: PreTrainedConfig, *, name: str) -> PreTrainedConfig:
    """Set every dropout rate of the config to 0, in place, its parts included, and print which were above 0."""
    found = [f"{key}={rate}" for key, rate in _set_to_zero(config)]
    if found:
        print(
            f"{name}: {', '.join(found)} in its config set to 0: with dropout, training would not see the probabilities "
            "that responses were sampled with.",
            flush=True,
        )
    return config


def _set_to_zero(config: PreTrainedConfig, path: str = "") -> Iterator[tuple[str, float]]:
    """Rates that were above 0: attention_dropout, hidden_dropout_prob, resid_pdrop, drop_path_rate, layerdrop."""
    for key, rate in list(vars(config).items()):
        if "drop" in key and isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0:
            setattr(config, key, type(rate)(0))
            yield path + key, rate
    for part in config.sub_configs:
        if isinstance(inner := getattr(config, part, None), PreTrainedConfig):
            yield from _set_to_zero(inner, f"{path}{part}.")
