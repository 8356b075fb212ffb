"""Dynamic sampling (DAPO: Yu et al., 2025, arXiv 2503.14476, Sec. 3.2): an update learns from groups whose responses differ.

Where the score is the accuracy, the advantages of a group that is all right or all wrong are zero, and it would only thin out the
batch. DAPO samples again until a batch is full. Here each generation step samples a fixed surplus of queries and chooses from
them, so a step always ends with an update, and no group waits for the next step.
"""

import math
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_rl.algorithms.choices import check_choices


@dataclass(frozen=True, kw_only=True)
class DynamicSampling:
    """What the responses of a group must differ in, and how many more queries are sampled than an update learns from."""

    metric: Literal["accuracy", "score"]  # accuracy: neither all right nor all wrong, as in DAPO; score: the reward
    oversample: float  # queries of a generation step, as a multiple of the dataset.batch_size that its update learns from

    def __post_init__(self) -> None:
        key = "algorithm.dynamic_sampling"
        check_choices(self, key=key)
        if not 1 <= self.oversample < math.inf:
            raise ValueError(f"{key}.oversample={self.oversample}; it is 1 or more. For example {key}.oversample=1.5.")

    def num_queries(self, batch_size: int) -> int:
        """Queries that a generation step samples for an update on `batch_size` of them; rounded up."""
        return math.ceil(self.oversample * batch_size - 1e-9)


def differs(values: Float[Tensor, " batch"], *, group_size: int) -> Bool[Tensor, " group"]:
    """True = the responses of a group do not all have the same value; the responses of a group lie side by side."""
    groups = values.view(-1, group_size)
    return groups.amax(1) > groups.amin(1)


def places_in_batch(is_different: Bool[Tensor, " query"]) -> Int[Tensor, " query"]:
    """For each query of a step its place in the batch: those whose responses differ first, then the others, each in their order."""
    first, others = is_different.long(), (~is_different).long()
    return (first.cumsum(0) - 1) * first + (first.sum() + others.cumsum(0) - 1) * others
