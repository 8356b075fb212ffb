"""The reference of a model that is trained in full: a frozen copy. With adapters there is none, as the model without them is it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedModel

from vlm_rl.models.sharding import Layout, Sharding


@dataclass(frozen=True, kw_only=True)
class FrozenCopy:
    """A model in the place of the policy's own."""

    vlm: PreTrainedModel
    layout: Layout

    @property
    def num_bytes(self) -> int:
        """Of its weights, over all ranks."""
        return sum(p.nbytes for p in self.vlm.parameters())


def frozen_copy(
    vlm: PreTrainedModel, *, layout: Layout, sharding: Sharding | None, compact: Callable[[PreTrainedModel], None]
) -> FrozenCopy:
    """A copy that is shared out if the model is, else of its `layout`; `compact` makes it smaller where no result changes."""
    copied = (copy.deepcopy if sharding is None else sharding.unwrapped_copy)(vlm).requires_grad_(False).eval()
    compact(copied)
    return FrozenCopy(vlm=copied, layout=layout if sharding is None else sharding.wrap(copied))
