"""Step II by servers, in turn with the other steps or while Steps III and IV of the step before go on.

Overlapping, responses come from weights that are exactly one version behind, so that nothing depends on time: those of step t+1 are
begun when those of step t are there, by the weights that step t begins with. What is in flight is part of no checkpoint: it is sampled
again, by the same weights with the same seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vlm_rl import ranks
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.step1_data_flow import DataFlow
from vlm_rl.pipeline.step2_response_collection import ResponseCollection
from vlm_rl.rollout.engine import NoServerLeft, Sampling, SamplingSettings, ServedEngine
from vlm_rl.types import QueryBatch, ResponseBatch, SampledBy


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """The responses of one step, on their way."""

    step: int
    sampling: Sampling
    by: SampledBy


class ServedCollection(ResponseCollection):
    """Where servers fail one rank, all ranks stop together."""

    def collect(self, queries: QueryBatch, policy: Policy) -> ResponseBatch:
        """Responses to the queries by the weights of now."""
        return ranks.together(lambda: super(ServedCollection, self).collect(queries, policy), fails=NoServerLeft)


class OverlappedCollection(ResponseCollection):
    """Step 0 waits for its responses; each later step finds those that the step before has begun."""

    def __init__(self, *, engine: ServedEngine, settings: SamplingSettings, seed: int, data_flow: DataFlow) -> None:
        super().__init__(engine=engine, settings=settings, seed=seed)
        self._served, self._data_flow = engine, data_flow
        self._begun: _Begun | None = None
        self._restored: SampledBy | None = None

    def collect(self, queries: QueryBatch, policy: Policy) -> ResponseBatch:
        """The responses to the queries, begun earlier or now; those of the next step are begun."""
        now = SampledBy(weights=policy.trained_weights(), version=policy.version)
        if self._begun is None:  # the first step of this process
            self._begun, self._restored = self._begin(queries, policy, self._restored or now), None
        begun = self._begun
        assert begun.step == queries.step, "the data flow gives the steps in order"
        (responses,) = ranks.together(begun.sampling, fails=NoServerLeft)
        following = self._data_flow.upcoming
        self._begun = None if following is None else self._begin(following, policy, now)
        return responses if begun.by.version == now.version else replace(responses, sampled_by=begun.by)

    def _begin(self, queries: QueryBatch, policy: Policy, by: SampledBy) -> _Begun:
        with policy.holding(by.weights, version=by.version):
            self._served.load(policy)
        sampling = self._served.begin(queries, [self._settings], [self.seeds(queries)])
        return _Begun(step=queries.step, sampling=sampling, by=by)

    def state_dict(self) -> dict[str, Any]:
        """The weights that sample what is in flight."""
        by = None if self._begun is None else self._begun.by
        return {} if by is None else {"weights": [weight.cpu() for weight in by.weights], "version": by.version}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Sample by these weights first."""
        self._restored = SampledBy(weights=tuple(state["weights"]), version=state["version"]) if state else None
