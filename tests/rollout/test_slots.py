"""Slots that are filled again as responses end: the same answers, and no more steps than needed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_huggingface_engine import FULL, HOT, ids_of, queries_of, restless

from vlm_rl.commands.build import Experiment
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.step3_trajectory_generation import concatenate, response_logprobs
from vlm_rl.randomness import stream_seed
from vlm_rl.rollout import huggingface_engine, slots
from vlm_rl.rollout.engine import SamplingSettings, generate_each
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine
from vlm_rl.rollout.slots import Slots
from vlm_rl.types import QueryBatch, ResponseBatch

ORDER = list(range(8))


def seeds_of(experiment: Experiment, settings: SamplingSettings, *, purpose: str = "test") -> np.ndarray:
    rows = [experiment.dataset.train[i] for i in ORDER]
    seeds = [[stream_seed(0, purpose, row.id, k) for k in range(settings.num_samples)] for row in rows]
    return np.array(seeds, dtype=np.int64)


def written(experiment: Experiment, *, num_slots: int, settings: SamplingSettings = HOT, **engine: int) -> ResponseBatch:
    sampler = HuggingFaceEngine(forward_batch_size=num_slots, **engine)
    sampler.load(experiment.policy)
    return sampler.generate(queries_of(experiment, ORDER), settings, seeds_of(experiment, settings))


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The slots in use at each step."""
    seen: list[int] = []
    decode = Slots.decode

    def counted(self: Slots, tokens: torch.Tensor) -> None:
        seen.append(len(tokens))
        decode(self, tokens)

    monkeypatch.setattr(Slots, "decode", counted)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("spare_columns", [1, 64])
@pytest.mark.parametrize("num_slots", [1, 5, 24])
def test_answers_are_the_same_for_any_number_of_slots_and_as_fast_as_lengths_allow(
    experiment: Experiment, num_slots: int, spare_columns: int, widths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one spare column the cache moves to the left end of its room every now and then."""
    monkeypatch.setattr(huggingface_engine, "SPARE_COLUMNS", spare_columns)
    with restless(experiment.policy):
        expected = ids_of(ORDER, written(experiment, num_slots=256))
        widths.clear()
        found = written(experiment, num_slots=num_slots)
        trajectory = concatenate(queries_of(experiment, ORDER), found, scores=torch.zeros(24))
        difference = (found.engine_logprobs - response_logprobs(experiment.policy, trajectory)).abs().max()
    assert ids_of(ORDER, found) == expected
    assert difference <= 2e-5  # nats, and rounding is all that the number of slots changes
    lengths = [len(ids) for ids in expected.values()]
    assert len(set(lengths)) > 3
    assert len(widths) <= sum(lengths) / num_slots + max(lengths)
    assert max(widths) <= num_slots


@pytest.mark.parametrize("num_slots", [2, 7])
def test_a_model_whose_cache_can_be_given_no_room_gives_the_same_answers(
    experiment: Experiment, num_slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own cache grows; three samples of a question always go together, even where there are two slots."""
    expected = ids_of(ORDER, written(experiment, num_slots=256, settings=FULL))
    for module in (huggingface_engine, slots):
        monkeypatch.setattr(module, "has_room", lambda _: False)
    assert ids_of(ORDER, written(experiment, num_slots=num_slots, settings=FULL)) == expected


def test_room_for_tokens_limits_the_slots(experiment: Experiment, widths: list[int]) -> None:
    width = queries_of(experiment, ORDER).query_ids.shape[1] + FULL.max_new_tokens + huggingface_engine.SPARE_COLUMNS
    written(experiment, num_slots=256, settings=FULL, max_cache_tokens=7 * width - 1)
    assert max(widths) == 6
    widths.clear()
    written(experiment, num_slots=256, settings=replace(FULL, max_new_tokens=2), max_cache_tokens=1)
    assert max(widths) == 1  # one sequence is always written


def test_prompts_are_read_once_for_all_settings_and_each_row_has_its_own(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [
        FULL,
        replace(FULL, temperature=0.5, num_samples=2),
        replace(FULL, temperature=0.01, top_p=0.001, num_samples=1),
    ]
    seeds = [seeds_of(experiment, setting, purpose=str(i)) for i, setting in enumerate(settings)]
    engine, queries = HuggingFaceEngine(forward_batch_size=10), queries_of(experiment, ORDER)
    engine.load(experiment.policy)
    alone = [engine.generate(queries, setting, part) for setting, part in zip(settings, seeds, strict=True)]
    read: list[int] = []
    hidden = Policy.hidden

    def counted(self: Policy, **inputs: torch.Tensor) -> torch.Tensor:
        if inputs["ids"].shape[1] > 1:
            read.append(len(inputs["ids"]))
        return hidden(self, **inputs)

    monkeypatch.setattr(Policy, "hidden", counted)
    together = generate_each(engine, queries, settings, seeds)
    assert read == [8]
    for setting, one, other in zip(settings, alone, together, strict=True):
        assert ids_of(ORDER, one) == ids_of(ORDER, other)
        rounding = 2e-5 / min(1, setting.temperature)  # of logits, which are divided by the temperature
        assert (one.engine_logprobs - other.engine_logprobs).abs().max() <= rounding


def test_an_engine_that_knows_one_setting_at_a_time_is_asked_for_each(experiment: Experiment) -> None:
    class Plain:
        synced_parts = frozenset[str]()

        def load(self, policy: Policy) -> None:
            raise AssertionError

        def generate(self, queries: QueryBatch, settings: SamplingSettings, seeds: np.ndarray) -> ResponseBatch:
            engine = HuggingFaceEngine(forward_batch_size=10)
            engine.load(experiment.policy)
            return engine.generate(queries, settings, seeds)

    settings = [replace(FULL, max_new_tokens=2), replace(HOT, max_new_tokens=2, num_samples=1)]
    seeds = [seeds_of(experiment, setting) for setting in settings]
    found = generate_each(Plain(), queries_of(experiment, ORDER), settings, seeds)
    assert [batch.num_samples for batch in found] == [3, 1]
