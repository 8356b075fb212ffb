"""Caches of several batches of prompts as one, whatever their layers keep."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache


def merged(caches: Sequence[DynamicCache]) -> DynamicCache:
    """The caches of several batches of one width as one; layer by layer, so that only one layer is there twice."""
    whole, *others = caches
    for layer, *more in zip(whole.layers, *(cache.layers for cache in others), strict=True) if others else ():
        rowless = _without_rows(layer)
        for name, value in list(vars(layer).items()):
            setattr(layer, name, _together([value, *(vars(other).pop(name) for other in more)], rowless=getattr(rowless, name)))
    return whole


def own_copy(layer: Any) -> Any:
    """A copy of a cache's layer that can be changed without changing the layer."""
    made = copy(layer)
    vars(made).update({name: dict(value) for name, value in vars(layer).items() if isinstance(value, dict)})
    return made


def _without_rows(layer: Any) -> Any:
    """A copy of a cache's layer with no row left: it shows which axis of each tensor is the batch, positions have it second."""
    empty = own_copy(layer)
    empty.reorder_cache(torch.empty(0, dtype=torch.long))
    return empty


def _together(values: list[Any], *, rowless: Any) -> Any:
    """Tensors along the batch, also those in dictionaries (states of linear attention); numbers are the same in all."""
    if isinstance(values[0], dict):
        return {key: _together([value[key] for value in values], rowless=rowless[key]) for key in values[0]}
    if not isinstance(values[0], Tensor) or values[0].shape == rowless.shape:
        return values[0]
    return torch.cat(values, dim=rowless.shape.index(0))
