"""The weight matrices of a model: linear layers, routers and experts, with or without adapters on them.

Biases, norms, convolutions, embedding tables and the LM head are not among them. Families have no common names for these modules, so
routers are found by their shape: they give one score for each of the experts beside them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

_ADAPTER = re.compile(r"\.lora_\w+(?:\.|$)")  # PEFT's own matrices
_EXPERTS = re.compile(r"(?:^|\.)(?!shared)[^.]*experts(?:\.|$)")
_ROUTER = re.compile(r"(?:^|[._])(?:gate|router)(?:\.|$)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A linear layer by the path of its module, or a lone parameter by its own path."""

    path: str
    kind: Literal[
        "linear", "experts", "router", "bypassed"
    ]  # experts: all of a layer in one 3-D parameter; bypassed: never called
    num_weights: int

    @property
    def name(self) -> str:
        """Short, for messages: `q_proj`, `mlp.0`, `experts.gate_up_proj`."""
        *above, last = self.path.split(".")
        return f"{above[-1]}.{last}" if above and (last.isdigit() or self.kind in ("experts", "router")) else last


def find_matrices(vlm: PreTrainedModel) -> list[Matrix]:
    """All matrices in the model's order, by the paths that they have without adapters."""
    ends = [vlm.get_input_embeddings(), vlm.get_output_embeddings()]
    ends += [end.get_base_layer() for end in ends if isinstance(end, LoraLayer)]
    modules = {without_adapter(path): module for path, module in vlm.named_modules() if not _ADAPTER.search(path)}
    attention = [path + "." for path, module in modules.items() if isinstance(module, nn.MultiheadAttention)]
    counts = _experts_beside(modules)
    found = []
    for path, module in modules.items():
        if isinstance(module, nn.Linear):
            if all(module is not end for end in ends):
                chooses = _chooses(path, module.out_features, counts)
                kind: Literal["linear", "router", "bypassed"] = "router" if chooses else "linear"
                bypassed = any(path.startswith(above) for above in attention)  # torch reads its weight and never calls it
                size = module.in_features * module.out_features
                found.append(Matrix(path=path, kind="bypassed" if bypassed else kind, num_weights=size))
        else:
            found += _lone(path, module, counts)
    return found


def count(weights: Tensor) -> int:
    """How many numbers a parameter holds: a byte of a quantised one has two."""
    return 2 * weights.numel() if weights.dtype == torch.uint8 else weights.numel()


def without_adapter(path: str) -> str:
    """The path that a module has before PEFT wraps it."""
    return path.replace(".base_layer", "")


def _lone(path: str, module: nn.Module, counts: dict[str, int]) -> Iterator[Matrix]:
    """Parameters that a module which is no linear layer multiplies with itself."""
    for name, weight in module.named_parameters(recurse=False):
        own = f"{path}.{name}"
        if _is_expert(own, weight) and not isinstance(module, nn.modules.conv._ConvNd):
            yield Matrix(path=own, kind="experts", num_weights=weight.numel())
        elif weight.ndim == 2 and _chooses(path, len(weight), counts):
            yield Matrix(path=path if name == "weight" else own, kind="router", num_weights=weight.numel())


def _is_expert(path: str, weight: Tensor) -> bool:
    return weight.ndim == 3 and _EXPERTS.search(path) is not None


def _experts_beside(modules: dict[str, nn.Module]) -> dict[str, int]:
    """How many experts a module has, by its path with a dot."""
    counts: dict[str, int] = {}
    for path, module in modules.items():
        if (match := _EXPERTS.search(path)) is None:
            continue
        if match.end() == len(path) and isinstance(module, nn.ModuleList):
            counts[path[: match.start() + 1]] = len(module)
        for weight in module.parameters(recurse=False):
            if weight.ndim == 3:
                counts[path[: match.start() + 1]] = weight.shape[0]
    return counts


def _chooses(path: str, num_rows: int, counts: dict[str, int]) -> bool:
    """Whether a matrix of so many rows gives a score for each of the experts beside it, and is named as one that does."""
    beside = [(above, count) for above, count in counts.items() if path.startswith(above)]
    return any(num_rows == count and _ROUTER.search(path.removeprefix(above)) is not None for above, count in beside)
