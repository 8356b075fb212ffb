"""The embedded engine on every family: its log-probabilities are the trainer's, groups share a prefill, finished rows leave the batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.pipeline.step3_trajectory_generation import concatenate, response_logprobs
from vlm_rl.randomness import stream_seed
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.huggingface_engine import COMPACT_BELOW, HuggingFaceEngine

HOT = SamplingSettings(temperature=5.0, top_p=1.0, max_new_tokens=24, num_samples=4)


def test_engine_and_trainer_agree_on_prompts_read_in_two_forwards_whose_responses_end_midway(
    family_experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A high temperature and many stop ids: lengths differ whatever the weights."""
    policy = family_experiment.policy
    queries = family_experiment.encoder.batch(mixed_rows, indices=range(3), step=0)
    width, shapes = queries.query_ids.shape[1], list[tuple[int, ...]]()
    stops = [i for i in range(0, len(policy.banned), 8) if not policy.banned[i]]
    monkeypatch.setattr(policy.vlm.generation_config, "eos_token_id", stops)
    monkeypatch.setattr(policy, "temperature", HOT.temperature)
    monkeypatch.setattr(policy, "optimization", replace(policy.optimization, forward_batch_tokens=2 * width))
    engine = HuggingFaceEngine(forward_batch_size=256)
    engine.load(policy)
    seeds = np.array([[stream_seed(0, "families", row.id, k) for k in range(4)] for row in mixed_rows], dtype=np.int64)
    hook = policy.vlm.model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    responses = engine.generate(queries, HOT, seeds)
    hook.remove()
    assert shapes[:2] == [(2, width), (1, width)]  # three prompts in two forwards, not twelve
    rows, lengths = zip(*shapes[2:], strict=True)
    assert set(lengths) == {1} and list(rows) == sorted(rows, reverse=True)
    assert rows[-1] < 12 * COMPACT_BELOW
    assert len(responses.response_mask.sum(1).unique()) > 3
    difference = responses.engine_logprobs - response_logprobs(policy, concatenate(queries, responses, scores=torch.zeros(12)))
    assert difference.abs().max() <= 2e-5
    assert policy.banned[policy.vlm.config.image_token_id]
    assert not policy.banned[list(range(256))].any()  # ordinary text
