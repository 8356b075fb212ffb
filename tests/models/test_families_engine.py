"""The embedded engine on every family: its log-probabilities are training's, groups share a prefill, rows leave early."""

from dataclasses import replace

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
def hot(family_experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> Policy:
    """A high temperature and many stop ids: lengths differ whatever the weights."""
    policy = family_experiment.policy
    stops = [i for i in range(0, len(policy.banned), 8) if not policy.banned[i]]
    monkeypatch.setattr(policy.vlm.generation_config, "eos_token_id", stops)
    monkeypatch.setattr(policy, "temperature", SETTINGS.temperature)
    return policy


@pytest.fixture
def queries(family_experiment: Experiment, mixed_rows: list[Row]) -> QueryBatch:
    return family_experiment.encoder.batch(mixed_rows, indices=range(3), step=0)


def sampled(policy: Policy, queries: QueryBatch) -> ResponseBatch:
    engine = HuggingFaceEngine(forward_batch_size=256)
    engine.load(policy)
    seeds = [[stream_seed(0, "families", row.id, k) for k in range(4)] for row in queries.rows]
    return engine.generate(queries, SETTINGS, np.array(seeds, dtype=np.int64))


def test_engine_and_training_agree(hot: Policy, queries: QueryBatch) -> None:
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


def test_groups_share_the_prefill_and_finished_rows_leave_the_batch(hot: Policy, queries: QueryBatch) -> None:
    shapes: list[tuple[int, ...]] = []
    seen = hot.vlm.model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        sampled(hot, queries)
    finally:
        seen.remove()
    assert shapes[0] == tuple(queries.query_ids.shape)  # three prompts, not twelve
    rows = [shape[0] for shape in shapes[1:]]
    assert {shape[1] for shape in shapes[1:]} == {1}
    assert rows[0] <= 12 and rows[-1] < 12 * huggingface_engine.COMPACT_BELOW
    assert rows == sorted(rows, reverse=True)


def test_image_ids_are_never_sampled(hot: Policy) -> None:
    assert hot.banned[hot.vlm.config.image_token_id]
    assert not hot.banned[list(range(256))].any()  # ordinary text


def test_prompts_are_read_in_batches_of_so_many_tokens_and_answered_together(
    hot: Policy, queries: QueryBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = sampled(hot, queries)
    width = queries.query_ids.shape[1]
    monkeypatch.setattr(hot, "optimization", replace(hot.optimization, forward_batch_tokens=2 * width))
    shapes: list[tuple[int, ...]] = []
    seen = hot.vlm.model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    in_parts = sampled(hot, queries)
    seen.remove()
    assert shapes[:2] == [(2, width), (1, width)]  # three prompts in two forwards
    assert {length for _, length in shapes[2:]} == {1}
    assert torch.equal(in_parts.response_ids, at_once.response_ids)
    torch.testing.assert_close(in_parts.engine_logprobs, at_once.engine_logprobs, atol=2e-5, rtol=0)
