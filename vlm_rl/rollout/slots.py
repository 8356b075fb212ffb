"""The sequences that the embedded engine writes at the same time, each in a slot.

All slots write in the same column. A sequence that joins brings its prompt into the columns before it, so one that has ended can be
replaced at once; what the model sees is a batch that is padded on the left.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from vlm_rl.models.policy import Policy
from vlm_rl.models.shared_prompts import reason_against
from vlm_rl.rollout.room import GrowingCache, SlotCache, has_room
from vlm_rl.rollout.shared_cache import SharedCache, can_share
from vlm_rl.types import QueryBatch


@dataclass(frozen=True, kw_only=True)
class ReadPrompts:
    """Prompts that were read together."""

    cache: DynamicCache
    hidden: Float[Tensor, "prompt hidden"]  # of the last tokens
    mask: Bool[Tensor, "prompt column"]
    next_positions: Int[Tensor, " prompt"]


def read(policy: Policy, queries: QueryBatch, chosen: slice) -> ReadPrompts:
    """Some of the prompts in one forward, padded as all of them are."""
    cache = DynamicCache(config=policy.vlm.config.get_text_config())
    hidden = policy.hidden(
        ids=queries.query_ids[chosen],
        mask=queries.attention_mask[chosen],
        types=queries.mm_token_type_ids[chosen],
        positions=queries.position_ids[:, chosen],
        images=queries.images[chosen],
        past_key_values=cache,
        use_cache=True,
    )
    return ReadPrompts(
        cache=cache,
        hidden=hidden[:, -1].clone(),  # alone, so that the states of all other tokens are forgotten
        mask=queries.attention_mask[chosen],
        next_positions=queries.next_positions[chosen],
    )


class Waiting:
    """The responses that are still to be written, in order. Prompts are read some at a time, and only when they are needed."""

    def __init__(self, policy: Policy, queries: QueryBatch, *, num_samples: int) -> None:
        self._policy, self._queries, self.num_samples = policy, queries, num_samples
        # More sequences can write than be read at once.
        self._size = max(1, policy.optimization.forward_batch_tokens // queries.query_ids.shape[1])
        self._place = self._start = self._end = 0  # the next response; the prompts that were read last
        self._prompts: ReadPrompts | None = None

    def __len__(self) -> int:
        return len(self._queries.rows) * self.num_samples - self._place

    def take(self, count: int) -> Iterator[tuple[ReadPrompts, np.ndarray, np.ndarray]]:
        """At most `count` responses: prompts that were read together, the rows of the responses' prompts in them, and their places."""
        last = self._place + min(count, len(self))
        while self._place < last:
            if self._place == self._end * self.num_samples:
                self._start, self._end = self._end, min(self._end + self._size, len(self._queries.rows))
                self._prompts = None  # its memory goes before the next ones need theirs
                self._prompts = read(self._policy, self._queries, slice(self._start, self._end))
            assert self._prompts is not None
            places = np.arange(self._place, min(last, self._end * self.num_samples))
            self._place = int(places[-1]) + 1
            yield self._prompts, places // self.num_samples - self._start, places


class Slots:
    """The batch that is written: its cache, its mask and its positions. A row for each slot; columns are counted from the first call."""

    def __init__(
        self, policy: Policy, queries: QueryBatch, *, num_slots: int, num_columns: int, device: torch.device | None = None
    ) -> None:
        self._policy, self._num_axes = policy, len(queries.position_ids)
        self._knows_masks = reason_against(policy.vlm) is None  # of models/decode_masks.py
        is_shared = can_share(policy, device=device or policy.device)
        self.width = 0 if is_shared else queries.query_ids.shape[1]  # columns of a prompt in a slot
        num_columns += self.width
        kind = SharedCache if is_shared else SlotCache if has_room(policy.vlm.config) else GrowingCache
        self._cache = kind(num_slots=num_slots, num_columns=num_columns)
        self._mask = torch.zeros(num_slots, num_columns, dtype=torch.bool, device=policy.device)
        self._next_positions = torch.zeros(num_slots, dtype=torch.long, device=policy.device)
        self._begin, self.end, self._moved = 0, self.width, 0  # columns that are used, and by how many the room has moved
        self.hidden: Float[Tensor, "slot hidden"] = torch.empty(0)  # decides on the next token of each slot

    @property
    def kept(self) -> list[Tensor]:
        """Keys and values, and whatever else layers remember."""
        return self._cache.kept

    @property
    def cache(self) -> DynamicCache:
        """What the model is given."""
        assert self._cache.cache is not None
        return self._cache.cache

    def join(self, prompts: ReadPrompts, *, rows: np.ndarray, slots: np.ndarray) -> None:
        """Give slots to new sequences; `rows` are those of their prompts."""
        if not len(self.hidden):
            self.hidden = prompts.hidden.new_zeros(len(self._mask), prompts.hidden.shape[1])
        end = self.end - self._moved
        self._cache.join(prompts.cache, mask=prompts.mask, slots=slots, rows=rows, end=end)
        given, taken = on_device(self._policy, slots), on_device(self._policy, rows)
        self._mask[given] = False
        if self.width:
            self._mask[given, end - self.width : end] = prompts.mask[taken]
        self._next_positions[given] = prompts.next_positions[taken]
        self.hidden[given] = prompts.hidden[taken]

    def decode(self, tokens: Int[Tensor, " slot"]) -> None:
        """Append one token to each sequence."""
        if self.end - self._moved == self._mask.shape[1]:
            self._move()
        begin, end = self._begin - self._moved, self.end - self._moved
        self._cache.show(begin, end)
        self._mask[:, end] = True
        seen = self._mask[:, begin : end + 1]
        self.hidden = self._policy.hidden(
            ids=tokens[:, None],
            mask=self._cache.seen(seen) if self._knows_masks else seen,
            types=torch.zeros_like(tokens[:, None]),
            positions=self._next_positions[None, :, None].expand(self._num_axes, -1, -1),
            images=(),
            past_key_values=self.cache,
            use_cache=True,
        )[:, -1]
        self._next_positions = self._next_positions + 1
        self.end += 1

    def keep(self, kept: np.ndarray) -> None:
        """The other slots leave the batch."""
        self._cache.show(self._begin - self._moved, self.end - self._moved)
        self._cache.keep(kept, device=self._policy.device)
        rows = on_device(self._policy, kept)
        self._mask, self._next_positions, self.hidden = self._mask[rows], self._next_positions[rows], self.hidden[rows]

    def forget_before(self, column: int) -> None:
        """No sequence needs the columns before this one."""
        if self._cache.can_forget:
            self._begin = column

    def _move(self) -> None:
        """To the left end of the room, over columns that no sequence needs; a prompt that joins must fit before the end."""
        first = min(self._begin, self.end - self.width)
        start, end = first - self._moved, self.end - self._moved
        self._cache.show(start, end)
        self._cache.shift()
        self._mask[:, : end - start] = self._mask[:, start:end].clone()
        self._moved = first


def prefilled(
    policy: Policy, queries: QueryBatch, *, num_samples: int, num_tokens: int, device: torch.device | None = None
) -> Iterator[Slots]:
    """Reads each prompt once; every sample of it has a slot, with room for so many tokens. Yields the slots after each reading."""
    waiting = Waiting(policy, queries, num_samples=num_samples)
    slots = Slots(policy, queries, num_slots=len(waiting), num_columns=num_tokens, device=device)
    for prompts, rows, places in waiting.take(len(waiting)):
        slots.join(prompts, rows=rows, slots=places)
        del prompts  # before the next ones are read
        yield slots


def on_device(policy: Policy, numbers: np.ndarray) -> Tensor:
    """Numbers of the host on the device of the policy."""
    return torch.from_numpy(numbers).to(policy.device)
