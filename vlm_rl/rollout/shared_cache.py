"""A cache that holds each prompt once: a slot has room for what it writes, and knows which prompt it goes on from."""

import weakref

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

from vlm_rl.models.decode_masks import Members, SharedColumns, added
from vlm_rl.models.policy import Policy
from vlm_rl.models.shared_prompts import reason_against
from vlm_rl.rollout.room import SlotCache, has_room

Pair = tuple[Tensor, Tensor]  # keys and values (prompt, head, column, dimension)


def can_share(policy: Policy, *, device: torch.device) -> bool:
    """Whether attention may read prompts apart: on a CPU in float32. Elsewhere one kernel over everything is preferred.

    In less precision scores would be rounded before the softmax, and a GPU would start ten kernels more for each layer.
    """
    text: PreTrainedConfig = policy.vlm.config.get_text_config()
    is_exact = (policy.precision.autocast_to or policy.vlm.dtype) == torch.float32
    is_full = all(type(layer) is DynamicLayer for layer in DynamicCache(config=text).layers)  # with a window, none is so
    return device.type == "cpu" and is_exact and is_full and reason_against(policy.vlm) is None and has_room(policy.vlm.config)


class SharedCache(SlotCache):
    """What `SlotCache` is, with no column for prompts in its room."""

    def __init__(self, *, num_slots: int, num_columns: int) -> None:
        super().__init__(num_slots=num_slots, num_columns=num_columns)
        self._prompts: dict[int, Pair] = {}  # of each layer
        self._mask: Tensor = torch.empty(0)  # of the prompts, as numbers that are added to scores
        self._read: weakref.ref[DynamicCache] | None = None  # the last one that was taken in, and the row of its first prompt
        self._first = 0
        self._prompt_of = np.full(num_slots, -1)  # of each slot, the row of its prompt
        self._members: Members | None = None
        self._in_use = slice(0, 0)  # rows of prompts, from the first that has a slot to the last

    def join(
        self, read: DynamicCache, *, mask: Bool[Tensor, "prompt column"], slots: np.ndarray, rows: np.ndarray, end: int
    ) -> None:
        """Let slots go on from prompts that have been read; nothing is copied for a slot."""
        if self.cache is None:
            self.cache = self._room_like(read)
        self._prompt_of[slots] = -1
        if self._read is None or self._read() is not read:
            self._keep_prompts()
            self._first, self._read = len(self._mask), weakref.ref(read)
            for i, layer in enumerate(read.layers):  # so that one layer alone is there twice
                self._prompts[i] = _behind(self._prompts.get(i), (layer.keys, layer.values))
            in_prompt = added(mask, torch.float32)
            self._mask = torch.cat([self._mask, in_prompt]) if len(self._mask) else in_prompt
        self._prompt_of[slots] = self._first + rows
        self._group(mask.device)

    @property
    def kept(self) -> list[Tensor]:
        """The prompts' too."""
        return [*super().kept, *(states for pair in self._prompts.values() for states in pair)]

    def keep(self, kept: np.ndarray, *, device: torch.device) -> None:
        """The other slots leave."""
        super().keep(kept, device=device)
        self._prompt_of = self._prompt_of[kept]
        self._keep_prompts()
        self._group(device)

    def seen(self, own: Bool[Tensor, "slot column"]) -> Bool[Tensor, "slot 1 1 1"]:
        """The mask for the model: the slot's prompt and these columns of its own."""
        assert self._members is not None
        prompts = {i: (keys[self._in_use], values[self._in_use]) for i, (keys, values) in self._prompts.items()}
        columns = SharedColumns(
            members=self._members, prompts=prompts, in_prompt=self._mask[self._in_use], own=added(own, torch.float32)
        )
        return columns.mask

    def _keep_prompts(self) -> None:
        """Forgets prompts that no slot needs."""
        needed, renamed = np.unique(self._prompt_of[self._prompt_of >= 0], return_inverse=True)
        if len(needed) < len(self._mask):
            rows = torch.from_numpy(needed).to(self._mask.device)
            for i, (keys, values) in self._prompts.items():
                self._prompts[i] = keys[rows], values[rows]
            self._mask = self._mask[rows]
            self._prompt_of[self._prompt_of >= 0] = renamed

    def _group(self, device: torch.device) -> None:
        """Puts the slots in the order of their prompts."""
        known = self._prompt_of[self._prompt_of >= 0]
        self._in_use = slice(int(known.min()), int(known.max()) + 1)
        local = np.maximum(self._prompt_of, known.min()) - known.min()  # a slot that nobody has joined yet writes nothing
        count = self._in_use.stop - self._in_use.start
        sizes = np.bincount(local, minlength=count)
        by_prompt = local.argsort(kind="stable")
        places = np.empty_like(local)
        places[by_prompt] = np.arange(len(local)) - (sizes.cumsum() - sizes)[local[by_prompt]]
        back = local * sizes.max() + places
        order = np.zeros(count * sizes.max(), dtype=np.int64)
        order[back] = np.arange(len(local))
        made = (torch.from_numpy(numbers).to(device) for numbers in (order, back))
        self._members = Members(order=next(made), back=next(made), prompts=count)


def _behind(old: Pair | None, new: Pair) -> Pair:
    """Prompts behind those that are there; the first ones are not copied."""
    return (torch.cat([old[0], new[0]]), torch.cat([old[1], new[1]])) if old is not None and len(old[0]) else new
