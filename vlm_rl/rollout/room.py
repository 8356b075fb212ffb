"""A cache with room: its keys and values lie in tensors that are as large as they will ever be, a row for each slot.

A token is written in place and nothing is copied. All rows write in the same column, so a model sees an ordinary padded batch. A row
may be given to another sequence at any time: its prompt is put into the columns before the one that is written next.
"""

import functools
from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedConfig
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionLayer

from vlm_rl.models.decode_masks import Columns
from vlm_rl.rollout.merging import merged, own_copy

STATES = ("conv_states", "recurrent_states")  # of linear attention: dictionaries of tensors with a row for each sequence


class Room:
    """Before a layer class of Transformers: keys and values are a window of `room`; what the layer says of itself is of this window."""

    room: tuple[Tensor, Tensor]  # (slot, head, column, dimension) each
    num_rows: int  # slots in use, from the first
    begin: int  # the first column that any row in use has
    end: int  # the column that is written next

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Writes the new tokens; returns what they attend to."""
        num_tokens = key_states.shape[-2]
        for room, states in zip(self.room, (key_states, value_states), strict=True):
            room[: self.num_rows, :, self.end : self.end + num_tokens] = states
        self.show(self.begin, self.end + num_tokens)
        window = getattr(self, "sliding_window", None)
        seen = slice(None) if window is None else slice(max(0, self.end - self.begin - (window - 1 + num_tokens)), None)
        return self.keys[:, :, seen], self.values[:, :, seen]

    def show(self, begin: int, end: int) -> None:
        """Sets the window."""
        self.begin, self.end = begin, end
        self.keys, self.values = (room[: self.num_rows, :, begin:end] for room in self.room)
        self.cumulative_length = end - begin  # as layers with a sliding window count

    def reorder_cache(self, kept: Int[Tensor, " kept"]) -> None:
        """These rows become the first ones, in this order; the others leave."""
        self.num_rows = len(kept)
        for room in self.room:
            room[: len(kept), :, self.begin : self.end] = room[kept, :, self.begin : self.end]
        self.show(self.begin, self.end)
        if isinstance(self, LinearAttentionLayer):
            LinearAttentionLayer.reorder_cache(self, kept)


def has_room(config: PreTrainedConfig) -> bool:
    """Whether every layer of this model's cache can be given room: of some families a layer keeps what nobody here knows."""
    layers = DynamicCache(config=config.get_text_config()).layers or [DynamicLayer()]
    return all(_is_known(type(layer)) for layer in layers)


def _is_known(kind: type) -> bool:
    if not issubclass(kind, CacheLayerMixin):
        return issubclass(kind, LinearAttentionLayer)
    is_plain = getattr(kind, "update", None) in (DynamicLayer.update, DynamicSlidingWindowLayer.update)
    return is_plain and not hasattr(kind, "update_indexer")


@functools.cache
def _with_room(kind: type) -> type:
    return type(
        f"{kind.__name__}WithRoom", (Room, kind), {"_layer_type": None}
    )  # no kind that Transformers would take for its own


class SlotCache:
    """The cache of all slots, for a model whose layers can be given room."""

    can_forget = True  # columns that no row needs, so that rows can join at any time

    def __init__(self, *, num_slots: int, num_columns: int) -> None:
        self._num_slots, self._num_columns = num_slots, num_columns
        self.cache: DynamicCache | None = None  # what the model is given

    def join(
        self, read: DynamicCache, *, mask: Bool[Tensor, "prompt column"], slots: np.ndarray, rows: np.ndarray, end: int
    ) -> None:
        """Put rows of prompts that have been read into slots; their last tokens come to lie in the column before `end`."""
        if self.cache is None:
            self.cache = self._room_like(read)
        given, taken = _on(mask.device, slots), _on(mask.device, rows)
        for layer, other in zip(self.cache.layers, read.layers, strict=True):
            for name in STATES:
                for i, states in getattr(layer, name, {}).items():
                    if states is not None:
                        states[given] = getattr(other, name)[i][taken]
            if isinstance(layer, Room):
                for room, states in zip(layer.room, (other.keys, other.values), strict=True):
                    room[given, :, end - states.shape[2] : end] = states[taken]

    @property
    def kept(self) -> list[Tensor]:
        """All tensors that are held."""
        return tensors_of(self.cache) if self.cache is not None else []

    def show(self, begin: int, end: int) -> None:
        """Set the columns that the rows in use have."""
        for layer in self._layers():
            layer.show(begin, end)

    def seen(self, columns: Bool[Tensor, "slot column"]) -> Bool[Tensor, "slot 1 1 1"]:
        """The mask for a model that knows these ones (models/decode_masks.py)."""
        return Columns(seen=columns).mask

    def keep(self, kept: np.ndarray, *, device: torch.device) -> None:
        """The other slots leave."""
        assert self.cache is not None
        self.cache.reorder_cache(_on(device, kept))  # layers of every kind have this one, linear attention too

    def shift(self) -> None:
        """Move the columns that are shown to the left end of the room."""
        for layer in self._layers():
            for room in layer.room:
                room[:, :, : layer.end - layer.begin] = room[:, :, layer.begin : layer.end].clone()
            layer.show(0, layer.end - layer.begin)

    def _room_like(self, read: DynamicCache) -> DynamicCache:
        """An empty cache like the one of prompts that have been read, with all slots and columns; zero throughout."""
        cache = copy(read)
        sizes = {"num_slots": self._num_slots, "num_columns": self._num_columns}
        cache.layers = [_roomy(own_copy(layer), **sizes) for layer in read.layers]
        return cache

    def _layers(self) -> Iterator[Any]:
        assert self.cache is not None
        return (layer for layer in self.cache.layers if isinstance(layer, Room))


class GrowingCache(SlotCache):
    """The same for any other model: its own cache, which copies everything at each token, and which all slots must join at first."""

    can_forget = False

    def join(
        self, read: DynamicCache, *, mask: Bool[Tensor, "prompt column"], slots: np.ndarray, rows: np.ndarray, end: int
    ) -> None:
        """Put the rows behind those that are there."""
        joining = copy(read)
        joining.layers = [own_copy(layer) for layer in read.layers]
        joining.reorder_cache(_on(mask.device, rows))
        self.cache = joining if self.cache is None else merged([self.cache, joining])

    def show(self, begin: int, end: int) -> None:
        """It knows its columns itself."""


def _roomy(layer: Any, *, num_slots: int, num_columns: int) -> Any:
    for name in STATES:
        states = getattr(layer, name, {})
        states.update({i: s.new_zeros(num_slots, *s.shape[1:]) for i, s in states.items() if s is not None})
    if not (isinstance(layer, CacheLayerMixin) and layer.is_initialized):
        return layer
    kind: Any = _with_room(type(layer))  # type: ignore[arg-type]  # a class has a hash
    made = kind.__new__(kind)
    room = (t.new_zeros(num_slots, t.shape[1], num_columns, t.shape[3]) for t in (layer.keys, layer.values))
    vars(made).update(vars(layer), room=tuple(room), num_rows=num_slots, begin=0, end=0)
    made.show(0, 0)  # what was read is forgotten here
    return made


def tensors_of(cache: Cache) -> list[Tensor]:
    """Keys and values, and whatever else the layers of a cache remember."""
    return [value for layer in cache.layers for value in vars(layer).values() if isinstance(value, Tensor)]


def _on(device: torch.device, numbers: np.ndarray) -> Tensor:
    return torch.from_numpy(numbers).to(device)
