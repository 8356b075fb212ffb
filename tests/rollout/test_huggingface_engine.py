"""The sampling loop against what training computes from the same tokens."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from tiny_runs import roll_out
from transformers import DynamicCache
from transformers.cache_utils import LinearAttentionLayer

from vlm_rl.commands.build import Experiment
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.step3_trajectory_generation import concatenate, response_logprobs
from vlm_rl.randomness import stream_seed
from vlm_rl.rollout.engine import RolloutEngine, SamplingSettings
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine, merged
from vlm_rl.rollout.solution_engine import SolutionEngine
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
    with restless(policy):
        responses = sampled(experiment, order, HOT)
        lengths = responses.response_mask.sum(1)
        assert len(set(lengths.tolist())) > 3  # some rows were removed midway
        queries = queries_of(experiment, order)
        trajectory = concatenate(queries, responses, scores=torch.zeros(24))
        difference = (responses.engine_logprobs - response_logprobs(policy, trajectory)).abs()
    print(f"largest difference of engine and training: {difference.max():.2e}")
    assert difference.max() <= 2e-5
    assert responses.engine_logprobs[~responses.response_mask].eq(0).all()


def test_every_stop_id_ends_a_response_and_is_its_last_token(experiment: Experiment) -> None:
    with restless(experiment.policy) as stops:
        responses = sampled(experiment, list(range(8)), HOT)
    seen = set()
    for ids, response in zip(ids_of(list(range(8)), responses).values(), responses.responses, strict=True):
        assert response.num_tokens == len(ids)
        assert not set(ids[:-1]) & set(stops)
        assert (response.finish_reason == "stop") == (ids[-1] in stops)
        assert response.finish_reason == "stop" or len(ids) == 24
        seen.add(ids[-1])
    assert len(seen & set(stops)) >= 2
    assert any(response.finish_reason == "stop" for response in responses.responses)


def test_ids_depend_on_row_and_sample_alone_and_not_on_batches_or_order(experiment: Experiment) -> None:
    order = list(range(8))
    expected = ids_of(order, sampled(experiment, order))
    assert len(set(map(tuple, expected.values()))) > 1
    assert ids_of(order, sampled(experiment, order, at_a_time=1)) == expected
    assert ids_of(order, sampled(experiment, order, at_a_time=7)) == expected
    assert ids_of(order[::-1], sampled(experiment, order[::-1])) == expected
    alone = ids_of([5], sampled(experiment, [5]))
    assert alone == {key: ids for key, ids in expected.items() if key[0] == 5}


def test_fewer_samples_are_the_first_of_more(experiment: Experiment) -> None:
    one = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=24, num_samples=1)
    expected = ids_of([0, 1], sampled(experiment, [0, 1]))
    assert ids_of([0, 1], sampled(experiment, [0, 1], one)) == {key: ids for key, ids in expected.items() if key[1] == 0}


def test_a_tiny_top_p_writes_the_likeliest_ids(experiment: Experiment) -> None:
    greedy = SamplingSettings(temperature=0.01, top_p=0.001, max_new_tokens=4, num_samples=2)
    responses = ids_of([0, 1], sampled(experiment, [0, 1], greedy))
    assert responses[0, 0] == responses[0, 1]
    queries = queries_of(experiment, [0, 1])
    hidden = experiment.policy.hidden(
        ids=queries.query_ids,
        mask=queries.attention_mask,
        types=queries.mm_token_type_ids,
        positions=queries.position_ids,
        images=queries.images,
        use_cache=False,
    )[:, -1]
    best = experiment.policy.next_token_logprobs(hidden, temperature=1.0).argmax(-1)
    assert [responses[i, 0][0] for i in (0, 1)] == best.tolist()


def test_the_first_token_is_drawn_by_the_first_number_of_its_seed(experiment: Experiment, policy: Policy) -> None:
    queries = queries_of(experiment, [0])
    hidden = policy.hidden(
        ids=queries.query_ids,
        mask=queries.attention_mask,
        types=queries.mm_token_type_ids,
        positions=queries.position_ids,
        images=queries.images,
        use_cache=False,
    )[:, -1]
    probabilities = policy.next_token_logprobs(hidden, temperature=1.0)[0].double().exp().tolist()
    written = ids_of([0], sampled(experiment, [0]))
    for k in range(3):
        number = np.random.Generator(np.random.Philox(key=stream_seed(0, "test", "train-0", k))).random()
        total, expected = 0.0, -1
        while total <= number:
            expected += 1
            total += probabilities[expected]
        assert written[0, k][0] == expected


def test_sampling_leaves_the_mode_of_the_model_as_it_was(experiment: Experiment) -> None:
    experiment.policy.vlm.train()
    sampled(experiment, [0])
    assert experiment.policy.vlm.training
    experiment.policy.vlm.eval()
    sampled(experiment, [0])
    assert not experiment.policy.vlm.training


def test_no_banned_id_is_ever_written(experiment: Experiment) -> None:
    trajectory = roll_out(experiment)
    assert not experiment.policy.banned[trajectory.response_ids[trajectory.response_mask]].any()


def test_engines_are_engines() -> None:
    assert isinstance(HuggingFaceEngine(forward_batch_size=1), RolloutEngine)
    assert isinstance(SolutionEngine(), RolloutEngine)


def test_the_solution_engine_writes_the_solution_and_a_stop_id(experiment: Experiment) -> None:
    engine = SolutionEngine()
    engine.load(experiment.policy)
    settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=96, num_samples=1)
    queries = queries_of(experiment, [0, 1])
    responses = engine.generate(queries, settings, np.zeros((2, 1), dtype=np.int64))
    for row, response, ids in zip(queries.rows, responses.responses, ids_of([0, 1], responses).values(), strict=True):
        assert response.text == row.solution
        assert response.finish_reason == "stop"
        assert ids[-1] in experiment.policy.stop_ids
    with pytest.raises(ValueError, match=r"set algorithm.group_size=1"):
        engine.generate(queries, FULL, np.zeros((2, 3), dtype=np.int64))


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
