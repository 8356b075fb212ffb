"""What every inference engine does for Step II: take the newest adapter, then sample."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from vlm_rl.models.policy import Policy
from vlm_rl.types import QueryBatch, ResponseBatch


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How to sample; in training temperature is the policy's and top_p is 1."""

    temperature: float
    top_p: float
    max_new_tokens: int
    num_samples: int  # for each query


@runtime_checkable
class RolloutEngine(Protocol):
    """Step II's worker: embedded, or a server."""

    synced_parts: frozenset[str]  # parts whose training reaches the engine; parts.check_engine refuses to train others

    def load(self, policy: Policy) -> None:
        """Brings the newest weights to the engine."""

    def generate(self, queries: QueryBatch, settings: SamplingSettings, seeds: np.ndarray) -> ResponseBatch:
        """Samples, on the engine's own device wherever the queries are. `seeds` (query, sample) hold a 63-bit seed for each
        response, and nothing else is random."""
