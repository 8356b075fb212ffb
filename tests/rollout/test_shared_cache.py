"""Keys and values of a prompt once for all that is written to it: the same attention, and prompts that nobody needs are forgotten."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_huggingface_engine import FULL, queries_of
from test_slots import ORDER, written
from torch import Tensor, nn
from transformers import DynamicCache

from vlm_rl.commands.build import Experiment
from vlm_rl.models.decode_masks import added
from vlm_rl.models.shared_prompts import attend
from vlm_rl.rollout import slots as slots_module
from vlm_rl.rollout.cache_tokens import SHARE, bytes_of_a_token, room_of, room_within
from vlm_rl.rollout.shared_cache import SharedCache, can_share
from vlm_rl.rollout.slots import prefilled

HEADS, KEY_HEADS, DIMENSION, COLUMNS = 4, 2, 3, 5
LAYER = nn.Module()
LAYER.layer_idx = 0  # type: ignore[assignment]


def read_prompts(count: int, *, seed: int) -> tuple[DynamicCache, Tensor]:
    """Keys and values of prompts; the first one is shorter by two tokens."""
    states = torch.randn(2, count, KEY_HEADS, COLUMNS, DIMENSION, generator=torch.Generator().manual_seed(seed))
    cache = DynamicCache()
    cache.update(states[0], states[1], 0)
    mask = torch.ones(count, COLUMNS, dtype=torch.bool)
    mask[0, :2] = False
    return cache, mask


def plain_attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One head of one row: softmax over all keys."""
    return (keys @ query / DIMENSION**0.5).softmax(0) @ values


def by_hand(query: Tensor, prompts: Sequence[tuple[Tensor, Tensor]], own: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
    """Row by row and head by head; `prompts` are those of the rows, without padding."""
    rows = []
    for row, (keys, values) in enumerate(prompts):
        for head in range(HEADS):
            of_key = head * KEY_HEADS // HEADS
            together = [torch.cat([p[of_key], o[row, of_key, seen[row]]]) for p, o in zip((keys, values), own, strict=True)]
            rows.append(plain_attention(query[row, head, 0], *together))
    return torch.stack(rows).view(len(prompts), 1, HEADS, DIMENSION)


def test_a_row_attends_to_its_prompt_and_its_own_columns_while_others_come_and_go() -> None:
    cache = SharedCache(num_slots=5, num_columns=4)
    first, mask = read_prompts(3, seed=0)
    cache.join(first, mask=mask, slots=np.array([0, 2, 3]), rows=np.array([0, 1, 0]), end=0)
    cache.join(first, mask=mask, slots=np.array([1, 4]), rows=np.array([1, 2]), end=0)
    second, other_mask = read_prompts(2, seed=1)
    cache.join(second, mask=other_mask, slots=np.array([2, 4]), rows=np.array([1, 0]), end=1)  # nobody needs prompt 2 any more
    prompts = [(first, 0), (first, 1), (second, 1), (first, 0), (second, 0)]
    random = torch.Generator().manual_seed(2)

    def check(rows: list[int], num_prompts: int) -> None:
        query = torch.randn(len(rows), HEADS, 1, DIMENSION, generator=random)
        own = torch.randn(2, len(rows), KEY_HEADS, 3, DIMENSION, generator=random)
        seen = torch.tensor([[True, True, True], [False, True, True], [False, False, True]])[torch.arange(len(rows)) % 3]
        given = cache.seen(seen)
        found, _ = attend(LAYER, query, own[0], own[1], given)
        known = [(c.layers[0].keys[i], c.layers[0].values[i]) for c, i in (prompts[row] for row in rows)]
        known = [
            (k[:, 2 * (i == 0) :], v[:, 2 * (i == 0) :])
            for (k, v), (_, i) in zip(known, (prompts[r] for r in rows), strict=True)
        ]
        assert (found - by_hand(query, known, (own[0], own[1]), seen)).abs().max() <= 1e-6
        assert len(given.sharing.prompts[0][0]) == num_prompts

    check([0, 1, 2, 3, 4], 4)
    cache.keep(np.array([0, 2, 3]), device=torch.device("cpu"))
    check([0, 2, 3], 2)


def test_the_mask_hides_by_infinity() -> None:
    assert added(torch.tensor([[True, False]]), torch.float32).tolist() == [[[[0.0, -torch.inf]]]]


def test_prompts_are_apart_on_a_cpu_in_float32_alone(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, cpu = experiment.policy, torch.device("cpu")
    assert can_share(policy, device=cpu)
    assert not can_share(policy, device=torch.device("cuda"))
    text = policy.vlm.config.get_text_config()
    for layer_types in (
        ["full_attention", "sliding_attention"],
        None,
    ):  # None: as in Mistral's config, where a number alone says it
        with monkeypatch.context() as patched:
            patched.setattr(text, "layer_types", layer_types)
            patched.setattr(text, "sliding_window", 8)
            assert not can_share(policy, device=cpu)
    monkeypatch.setattr(policy, "precision", replace(policy.precision, autocast_to=torch.bfloat16))
    assert not can_share(policy, device=cpu)


def test_answers_are_those_of_prompts_in_every_slot(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five slots for 24 responses to 8 prompts: groups are split, and prompts come and go."""
    apart = written(experiment, num_slots=5, settings=FULL)
    monkeypatch.setattr(slots_module, "can_share", lambda *_, **__: False)
    together = written(experiment, num_slots=5, settings=FULL)
    assert [response.text for response in apart.responses] == [response.text for response in together.responses]
    assert (apart.engine_logprobs - together.engine_logprobs).abs().max() <= 2e-5


def test_bytes_of_a_token_are_those_that_a_cache_holds(experiment: Experiment) -> None:
    queries = queries_of(experiment, ORDER[:2])
    *_, slots = prefilled(experiment.policy, queries, num_samples=3, num_tokens=7)
    tokens = 2 * queries.query_ids.shape[1] + 6 * 7
    storages = {states.untyped_storage().data_ptr(): states.untyped_storage().nbytes() for states in _held(slots)}
    assert sum(storages.values()) == tokens * bytes_of_a_token(experiment.policy)


def _held(slots: slots_module.Slots) -> list[Tensor]:
    rooms = [room for layer in slots.cache.layers for room in layer.room]
    return [*rooms, *slots.kept]


def test_room_for_tokens_is_a_power_of_two_within_the_share_of_what_is_free(experiment: Experiment) -> None:
    assert room_of(experiment.policy) is None
    seven_billion = 57_344  # bytes of a token of Qwen2.5-VL-7B in bfloat16
    assert (
        room_within(9 * 2**30, of_a_token=seven_billion) == 65_536
    )  # twice as many would take 7.0 GiB, and 6.3 are the cache's
    assert room_within(int(131_072 * seven_billion / SHARE) + 1, of_a_token=seven_billion) == 131_072
    assert room_within(0, of_a_token=seven_billion) == 1
