"""The sampling loop against what training computes from the same tokens."""

import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicIndexedLayer, LinearAttentionLayer

from vlm_rl.commands.build import Experiment
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.step3_trajectory_generation import concatenate, response_logprobs
from vlm_rl.randomness import stream_seed
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine, merged
from vlm_rl.types import QueryBatch, ResponseBatch

FULL = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=24, num_samples=3)


def queries_of(experiment: Experiment, order: list[int]) -> QueryBatch:
    encoder = PromptEncoder(policy=experiment.policy, dataset=experiment.dataset)
    return encoder.batch([experiment.dataset.train[i] for i in order], indices=order, step=0)


def sampled(
    experiment: Experiment, order: list[int], settings: SamplingSettings = FULL, *, at_a_time: int = 256
) -> ResponseBatch:
    engine = HuggingFaceEngine(forward_batch_size=at_a_time)
    engine.load(experiment.policy)
    queries = queries_of(experiment, order)
    seeds = [[stream_seed(0, "test", row.id, k) for k in range(settings.num_samples)] for row in queries.rows]
    return engine.generate(queries, settings, np.array(seeds, dtype=np.int64))


def ids_of(order: list[int], responses: ResponseBatch) -> dict[tuple[int, int], list[int]]:
    keys = [(i, k) for i in order for k in range(responses.num_samples)]
    pairs = zip(responses.response_ids, responses.response_mask, strict=True)
    return {key: ids[mask].tolist() for key, (ids, mask) in zip(keys, pairs, strict=True)}


HOT = SamplingSettings(temperature=5.0, top_p=1.0, max_new_tokens=24, num_samples=3)


@contextmanager
def restless(policy: Policy) -> Iterator[list[int]]:
    """Every eighth id ends a response and the temperature is high, so that rows end at different tokens whatever the weights."""
    before = policy.vlm.generation_config.eos_token_id, policy.temperature
    stops = [i for i in range(0, len(policy.banned), 8) if not policy.banned[i]]
    policy.vlm.generation_config.eos_token_id, policy.temperature = stops, HOT.temperature
    try:
        yield stops
    finally:
        policy.vlm.generation_config.eos_token_id, policy.temperature = before


def test_engine_logprobs_are_those_of_training_with_groups_and_rows_that_leave_the_batch(experiment: Experiment) -> None:
    order, policy = list(range(8)), experiment.policy
    with restless(policy) as stops:
        responses = sampled(experiment, order, HOT)
        trajectory = concatenate(queries_of(experiment, order), responses, scores=torch.zeros(24))
        difference = (responses.engine_logprobs - response_logprobs(policy, trajectory)).abs()
    assert len(set(responses.response_mask.sum(1).tolist())) > 3  # some rows were removed midway
    assert difference.max() <= 2e-5
    assert responses.engine_logprobs[~responses.response_mask].eq(0).all()
    assert not policy.banned[responses.response_ids[responses.response_mask]].any()
    last = set()
    for ids, response in zip(ids_of(order, responses).values(), responses.responses, strict=True):
        assert response.num_tokens == len(ids)
        assert not set(ids[:-1]) & set(stops)
        assert (response.finish_reason == "stop") == (ids[-1] in stops)
        assert response.finish_reason == "stop" or len(ids) == 24
        last.add(ids[-1])
    assert len(last & set(stops)) >= 2


@pytest.mark.slow
def test_ids_depend_on_row_and_sample_alone_and_not_on_batches_order_or_how_many_are_asked_for(experiment: Experiment) -> None:
    order = list(range(8))
    expected = ids_of(order, sampled(experiment, order))
    assert len(set(map(tuple, expected.values()))) > 1
    assert ids_of(order, sampled(experiment, order, at_a_time=7)) == expected
    assert ids_of(order[::-1], sampled(experiment, order[::-1])) == expected
    one = replace(FULL, num_samples=1)
    assert ids_of([5], sampled(experiment, [5], one, at_a_time=1)) == {(5, 0): expected[5, 0]}


def first_logprobs(experiment: Experiment, order: list[int]) -> Tensor:
    """Of the first token, as training computes them."""
    queries = queries_of(experiment, order)
    hidden = experiment.policy.hidden(
        ids=queries.query_ids,
        mask=queries.attention_mask,
        types=queries.mm_token_type_ids,
        positions=queries.position_ids,
        images=queries.images,
        use_cache=False,
    )[:, -1]
    return experiment.policy.next_token_logprobs(hidden, temperature=1.0)


def test_a_tiny_top_p_writes_the_likeliest_ids(experiment: Experiment) -> None:
    greedy = SamplingSettings(temperature=0.01, top_p=0.001, max_new_tokens=4, num_samples=2)
    responses = ids_of([0, 1], sampled(experiment, [0, 1], greedy))
    assert responses[0, 0] == responses[0, 1]
    assert [responses[i, 0][0] for i in (0, 1)] == first_logprobs(experiment, [0, 1]).argmax(-1).tolist()


def test_the_first_token_is_drawn_by_the_first_number_of_its_seed(experiment: Experiment) -> None:
    experiment.policy.vlm.train()
    written = ids_of([0], sampled(experiment, [0]))
    assert experiment.policy.vlm.training  # sampling leaves the mode as it was
    experiment.policy.vlm.eval()
    cumulative = first_logprobs(experiment, [0])[0].double().exp().cumsum(0).tolist()
    for k in range(3):
        number = np.random.Generator(np.random.Philox(key=stream_seed(0, "test", "train-0", k))).random()
        assert written[0, k][0] == bisect.bisect_right(cumulative, number)


def test_caches_of_linear_attention_are_merged_too() -> None:
    def cache(number: float) -> DynamicCache:
        layer, states = LinearAttentionLayer(), torch.full((2, 3, 4), number)
        layer.update_conv_state(states)
        layer.update_recurrent_state(states)
        whole = DynamicCache()
        whole.layers = [layer]
        return whole

    layer = merged([cache(1.0), cache(2.0)]).layers[0]
    for states in (layer.conv_states[0], layer.recurrent_states[0]):
        assert states[:, 0, 0].tolist() == [1, 1, 2, 2]
    assert layer.has_previous_state[0]


def test_positions_in_a_cache_which_have_the_batch_as_their_second_axis_are_merged_along_it() -> None:
    def cache(number: float) -> DynamicCache:
        layer, states = DynamicIndexedLayer(), torch.full((3, 1, 5, 4), number)  # three rows, as many as axes of positions
        layer.update(states, states)
        layer.update_indexer(states[:, 0])
        layer.indexer_position_ids = states[..., 0].transpose(0, 1).expand(3, 3, 5)
        whole = DynamicCache()
        whole.layers = [layer]
        return whole

    layer = merged([cache(1.0), cache(2.0)]).layers[0]
    assert layer.indexer_position_ids.shape == (3, 6, 5)
    assert layer.indexer_position_ids[0, :, 0].tolist() == [1, 1, 1, 2, 2, 2]
    assert layer.indexer_keys[:, 0, 0].tolist() == layer.keys[:, 0, 0, 0].tolist() == [1, 1, 1, 2, 2, 2]
