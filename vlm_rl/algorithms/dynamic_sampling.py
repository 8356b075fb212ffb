"""Dynamic sampling (DAPO: Yu et al., 2025, arXiv 2503.14476, Sec. 3.2): groups whose responses are all as good as one another are dropped.

Where the score is the accuracy their advantages are zero, and they would only thin out the batch. Here is which groups differ;
pipeline/batch_filling.py fills batches with those that do.
"""

import math
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

METRICS = ("accuracy", "score")


@dataclass(frozen=True, kw_only=True)
class DynamicSampling:
    """What the responses of a group must differ in, and how long training waits for a full batch of such groups."""

    metric: str  # "accuracy" (DAPO: neither all right nor all wrong) or "score" (the reward, where accuracy has no part in it)
    update_share: float  # groups that an update learns from, of the dataset.batch_size that a generation step samples
    patience: int  # generation steps in a row without an update before the run stops and says why

    def __post_init__(self) -> None:
        key = "algorithm.dynamic_sampling"
        if self.metric not in METRICS:
            raise ValueError(f"{key}.metric is {self.metric!r}; it is one of {', '.join(METRICS)}.")
        if not 0 < self.update_share <= 1:
            raise ValueError(
                f"{key}.update_share={self.update_share}; it is above 0 and at most 1. For example {key}.update_share=0.75."
            )
        if self.patience < 1:
            raise ValueError(
                f"{key}.patience={self.patience}; it is 1 or more generation steps. For example {key}.patience=10."
            )

    def groups_of_update(self, batch_size: int) -> int:
        """Of a batch of so many queries, rounded down: below 1 most steps can fill an update although some groups are dropped."""
        return max(1, math.floor(self.update_share * batch_size + 1e-9))


def differs(values: Float[Tensor, " batch"], *, group_size: int) -> Bool[Tensor, " group"]:
    """True = the responses of a group do not all have the same value; the responses of a group lie side by side."""
    groups = values.view(-1, group_size)
    return groups.amax(1) > groups.amin(1)
