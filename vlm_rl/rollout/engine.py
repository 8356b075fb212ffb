"""What every inference engine does for Step II: take the newest weights, then sample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from vlm_rl.models.policy import Policy
from vlm_rl.models.prompts import Prompts
from vlm_rl.types import QueryBatch, ResponseBatch

Sampling = Callable[[], list[ResponseBatch]]  # waits for responses that are being sampled


class EngineMismatch(RuntimeError):
    """The engine samples from another distribution than the one that is trained."""


class NoServerLeft(RuntimeError):
    """No sampling server answers any more."""


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How to sample; in training temperature is the policy's and top_p is 1."""

    temperature: float
    top_p: float
    max_new_tokens: int
    num_samples: int  # for each query


@runtime_checkable
class RolloutEngine(Protocol):
    """Step II's worker: the policy itself, or a server. Each rank calls its own with its own queries.

    The constructor opens no file and no connection: preflight makes an engine only to read `synced_parts`.
    """

    synced_parts: frozenset[str]  # parts whose training reaches the engine; parts.check_engine refuses to train others

    def load(self, policy: Policy) -> None:
        """Brings the newest weights to the engine. It is called before every generation step and every evaluation."""

    def generate(self, queries: QueryBatch, settings: SamplingSettings, seeds: np.ndarray) -> ResponseBatch:
        """Samples `settings.num_samples` responses to each query, side by side, and returns them on the policy's device.

        Only allowed ids are sampled (`policy.banned`); a response that ends by itself holds its stop id. Log-probabilities are under
        softmax(logits / temperature) over the allowed ids, NaN where the engine does not know them. Pictures are in `queries.rows`.
        `seeds` (query, sample) hold a 63-bit seed for each response, and nothing else is random.
        """


@runtime_checkable
class ServedEngine(RolloutEngine, Protocol):
    """An engine of processes beside the trainer, which sample while it computes. They read pictures from the rows, not features."""

    takes_adapters_only: bool  # weights of parts that are trained in full do not reach it

    def connect(self, policy: Policy, prompts: Prompts, *, run: str, advice: str = "") -> None:
        """Before everything else. `run`: what no other run that uses the same servers is called; `advice`: how to start a server."""

    def begin(
        self,
        queries: QueryBatch,
        settings: Sequence[SamplingSettings],
        seeds: Sequence[np.ndarray],
        *,
        in_background: bool = False,
    ) -> Sampling:
        """Begins to sample with the weights that were loaded last, whatever is loaded later; queries may be without images.

        `in_background`: other requests go first.
        """

    def close(self) -> None:
        """At the end, also after a failure."""


def generate_each(
    engine: RolloutEngine, queries: QueryBatch, settings: Sequence[SamplingSettings], seeds: Sequence[np.ndarray]
) -> list[ResponseBatch]:
    """Responses under several settings, with seeds for each; at once where the engine has a `generate_each` of its own, which reads
    each prompt once for all of them."""
    at_once = getattr(engine, "generate_each", None)
    if at_once is not None:
        result: list[ResponseBatch] = at_once(queries, settings, seeds)
        return result
    return [engine.generate(queries, setting, part) for setting, part in zip(settings, seeds, strict=True)]
