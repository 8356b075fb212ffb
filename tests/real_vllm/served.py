"""An experiment beside the server of its model, and how far the two are apart."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tiny_runs import Sheet

from vlm_rl.commands.build import Experiment, build, composed
from vlm_rl.datasets.row import Row
from vlm_rl.models.policy import Policy
from vlm_rl.models.prompt_sharing import own_states
from vlm_rl.pipeline.step3_trajectory_generation import concatenate
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.server import TimeLimits
from vlm_rl.rollout.vllm_engine import VllmEngine
from vlm_rl.types import QueryBatch, ResponseBatch

LIMITS = TimeLimits(connect=5, request=300, load=60, probe=5, without_server=20)
NUM_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a run has, without its training."""

    experiment: Experiment
    url: str
    exchange: Path

    @property
    def policy(self) -> Policy:
        """The trainer's model."""
        return self.experiment.policy

    @contextmanager
    def engine(self, *, policy: Policy | None = None) -> Iterator[VllmEngine]:
        """A connected engine, closed at the end."""
        engine = VllmEngine(
            servers=[self.url],
            model=self.experiment.cfg.model.name,
            exchange=str(self.exchange),
            requests_per_server=8,
            attempts=3,
            api_key_variable="VLLM_API_KEY",
            limits=LIMITS,
        )
        try:
            engine.connect(policy or self.policy, self.experiment.encoder.prompts, run="real.run")
            yield engine
        finally:
            engine.close()

    def queries(self) -> QueryBatch:
        """The rows with and without pictures."""
        chosen = rows()
        return self.experiment.encoder.batch(chosen, indices=range(len(chosen)), step=0)


def served_by(words: Sequence[str], url: str, *, exchange: Path) -> Served:
    """The objects of a run of these words."""
    return Served(experiment=build(composed(list(words))), url=url, exchange=exchange)


def rows() -> list[Row]:
    """No picture, one and three, of sides that are multiples of nothing."""
    sizes = ((101, 67), (83, 131), (45, 58), (149, 90))
    sheets = [Sheet(i, width=width, height=height) for i, (width, height) in enumerate(sizes)]
    return [
        Row(id="none", question="What is 3 + 4?", answer="7", solution="7", images=()),
        Row(id="one", question="<image>Find AB in the figure above, please.", answer="1", solution="1", images=(sheets[0],)),
        Row(id="three", question="<image><image>Or <image>?", answer="2", solution="2", images=tuple(sheets[1:])),
    ]


def sampled(engine: VllmEngine, queries: QueryBatch, *, temperature: float, tokens: int = 24) -> ResponseBatch:
    """Four responses to each row; their prompts are compared on the way."""
    settings = SamplingSettings(temperature=temperature, top_p=1.0, max_new_tokens=tokens, num_samples=NUM_SAMPLES)
    seeds = np.arange(len(queries.rows) * NUM_SAMPLES).reshape(-1, NUM_SAMPLES) + 2**62
    return engine.generate(queries, settings, seeds)


@torch.no_grad()
def largest_difference(policy: Policy, queries: QueryBatch, responses: ResponseBatch, *, temperature: float) -> float:
    """Between the server's log-probabilities and the trainer's, over all sampled tokens, in nats."""
    samples = concatenate(queries, responses, scores=torch.zeros(len(responses.responses)))
    mask = samples.response_mask
    ours = policy.next_token_logprobs(own_states(policy, samples), temperature=temperature)
    found = ours.gather(-1, samples.response_ids[mask][:, None])[:, 0]
    return float((found - samples.engine_logprobs[mask]).abs().max())
