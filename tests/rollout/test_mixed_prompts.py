"""Prompts without, with one and with several images sampled in one batch, in groups, with rows leaving midway."""

import numpy as np
import pytest
import torch

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.step3_trajectory_generation import concatenate, response_logprobs
from vlm_rl.randomness import stream_seed
from vlm_rl.rollout import huggingface_engine
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine
from vlm_rl.types import QueryBatch, ResponseBatch

SETTINGS = SamplingSettings(temperature=5.0, top_p=1.0, max_new_tokens=24, num_samples=4)


@pytest.fixture
def hot(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> Policy:
    """A high temperature and many stop ids: lengths differ whatever the weights."""
    stops = [i for i in range(0, len(policy.banned), 8) if not policy.banned[i]]
    monkeypatch.setattr(policy.vlm.generation_config, "eos_token_id", stops)
    monkeypatch.setattr(policy, "temperature", SETTINGS.temperature)
    return policy


@pytest.fixture
def queries(experiment: Experiment, mixed_rows: list[Row]) -> QueryBatch:
    return experiment.encoder.batch(mixed_rows, indices=range(3), step=0)


def sampled(policy: Policy, queries: QueryBatch) -> ResponseBatch:
    engine = HuggingFaceEngine(forward_batch_size=256)
    engine.load(policy)
    seeds = [[stream_seed(0, "mixed", row.id, k) for k in range(4)] for row in queries.rows]
    return engine.generate(queries, SETTINGS, np.array(seeds, dtype=np.int64))


def test_engine_and_training_agree_on_text_and_on_any_number_of_images(hot: Policy, queries: QueryBatch) -> None:
    responses = sampled(hot, queries)
    assert len(responses.response_mask.sum(1).unique()) > 3
    trajectory = concatenate(queries, responses, scores=torch.zeros(12))
    difference = (responses.engine_logprobs - response_logprobs(hot, trajectory)).abs()
    print(f"largest difference of engine and training: {difference.max():.2e}")
    assert difference.max() <= 2e-5


def test_dropping_finished_rows_changes_nothing(hot: Policy, queries: QueryBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = sampled(hot, queries)
    monkeypatch.setattr(huggingface_engine, "COMPACT_BELOW", 0.0)
    kept = sampled(hot, queries)
    assert torch.equal(dropped.response_ids, kept.response_ids)
    torch.testing.assert_close(dropped.engine_logprobs, kept.engine_logprobs, atol=2e-5, rtol=0)
