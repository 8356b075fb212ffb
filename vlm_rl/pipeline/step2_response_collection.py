"""Step II of Fig. 2: the engine gets the newest weights and samples the responses."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vlm_rl.models.policy import Policy
from vlm_rl.randomness import stream_seed
from vlm_rl.rollout.engine import RolloutEngine, SamplingSettings
from vlm_rl.types import QueryBatch, ResponseBatch


class ResponseCollection:
    """One call of generate for each generation step."""

    def __init__(self, *, engine: RolloutEngine, settings: SamplingSettings, seed: int) -> None:
        self._engine, self._settings, self._seed = engine, settings, seed

    def collect(self, queries: QueryBatch, policy: Policy) -> ResponseBatch:
        """Responses to the queries; each draw depends only on (root seed, row, sample, step)."""
        self._engine.load(policy)
        return self._engine.generate(queries, self._settings, self.seeds(queries))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep beside the weights of now: nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""

    def seeds(self, queries: QueryBatch) -> np.ndarray:
        """A 63-bit seed for each (query, sample)."""
        return np.array(
            [
                [
                    stream_seed(self._seed, "rollout", "train", row.id, k, queries.step)
                    for k in range(self._settings.num_samples)
                ]
                for row in queries.rows
            ],
            dtype=np.int64,
        )


def check_top_p(top_p: float) -> None:
    """Raises ValueError where training would learn from other responses than the policy's own."""
    if top_p != 1.0:
        raise ValueError(
            f"rollout.top_p is {top_p}: training samples from the policy itself, so it must be 1. "
            "Truncated sampling belongs to evaluation.settings."
        )
