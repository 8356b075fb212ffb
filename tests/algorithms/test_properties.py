"""What holds for every batch of numbers, looked for by hypothesis: the same examples in every run."""

from dataclasses import replace

import pytest
import torch
from arbitrary_batches import (
    GROUP,
    Learned,
    assert_same,
    batches,
    every,
    examples,
    grouped,
    learned,
    learned_of,
    policy_of,
    scored,
)
from every_algorithm import BY_GROUP, EVERY
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from trajectories import learning

from vlm_rl.types import Trajectory, select

pytestmark = pytest.mark.usefixtures("float64")


@every(*EVERY)
@examples(25)
@given(trajectory=batches(), data=st.data())
def test_the_order_of_rows_only_orders_the_results(name: str, trajectory: Trajectory, data: st.DataObject) -> None:
    order = torch.tensor(data.draw(st.permutations(range(len(trajectory)))))
    logprobs = policy_of(trajectory)
    whole = learned(grouped(name), trajectory, logprobs)
    shuffled = learned(grouped(name), select(trajectory, order), logprobs[order])
    rows = (whole.advantages[order], whole.weights[order], whole.loss, whole.gradient[order])
    assert_same(shuffled, Learned(**dict(zip(vars(whole), rows, strict=True))))


def widened(values: Tensor, extra: int, *, filler: float) -> Tensor:
    return torch.nn.functional.pad(values, (0, extra), value=filler)


@every(*EVERY)
@examples(25)
@given(trajectory=batches(), extra=st.integers(1, 3), filler=st.sampled_from([0.0, -3.0, 5.0]))
def test_padding_and_what_stands_in_it_do_not_count(name: str, trajectory: Trajectory, extra: int, filler: float) -> None:
    mask, logprobs = trajectory.response_mask, policy_of(trajectory)
    parts = (trajectory.old_logprobs, trajectory.ref_logprobs, logprobs)
    old, ref, new = (widened(torch.where(mask, x, i * filler), extra, filler=i * filler) for i, x in enumerate(parts, start=1))
    columns = (
        "input_ids",
        "attention_mask",
        "mm_token_type_ids",
        "position_ids",
        "response_mask",
        "engine_logprobs",
    )
    wider = {key: widened(getattr(trajectory, key), extra, filler=0) for key in columns}
    padded = replace(trajectory, **wider, old_logprobs=old, ref_logprobs=ref)
    found, expected = learned(grouped(name), padded, new), learned(grouped(name), trajectory, logprobs)
    for key in ("advantages", "weights", "gradient"):
        assert getattr(found, key)[:, mask.shape[1] :].eq(0).all()
        cut = getattr(found, key)[:, : mask.shape[1]]
        assert cut[~mask].eq(0).all()
        torch.testing.assert_close(cut, getattr(expected, key), atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(found.loss, expected.loss, atol=1e-12, rtol=1e-10)


@every("grpo", "dapo", "gspo", "reinforce_pp", "reinforce_pp_baseline")
@examples(25)
@given(trajectory=batches(), factor=st.sampled_from([1e-3, 0.1, 7.0, 1000.0]))
def test_the_unit_of_the_reward_does_not_matter_where_it_is_divided_by_its_spread(
    name: str, trajectory: Trajectory, factor: float
) -> None:
    scaled = replace(trajectory, scores=factor * trajectory.scores)
    assert_close(scored(name).advantages(scaled), scored(name).advantages(trajectory))


@every("dr_grpo", "rloo")
@examples(25)
@given(trajectory=batches(), factor=st.sampled_from([1e-3, 0.1, 7.0, 1000.0]))
def test_advantages_are_in_the_unit_of_the_reward_where_nothing_divides_it(
    name: str, trajectory: Trajectory, factor: float
) -> None:
    scaled = replace(trajectory, scores=factor * trajectory.scores)
    assert_close(scored(name).advantages(scaled), factor * scored(name).advantages(trajectory))


@every(*BY_GROUP)
@examples(25)
@given(trajectory=batches(), shifts=st.lists(st.integers(-5, 5), min_size=3, max_size=3))
def test_what_all_responses_to_a_query_get_does_not_matter(name: str, trajectory: Trajectory, shifts: list[int]) -> None:
    shift = torch.tensor([float(shifts[i // GROUP]) for i in range(len(trajectory))])
    shifted = replace(trajectory, scores=trajectory.scores + shift)
    assert_close(scored(name).advantages(shifted), scored(name).advantages(trajectory))


@examples(25)
@given(trajectory=batches(terminated=True), shift=st.integers(-5, 5))
def test_what_all_responses_of_the_batch_get_does_not_matter_to_reinforce_pp(trajectory: Trajectory, shift: int) -> None:
    shifted = replace(trajectory, scores=trajectory.scores + shift)
    assert_close(scored("reinforce_pp").advantages(shifted), scored("reinforce_pp").advantages(trajectory))


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-9 * max(1.0, float(expected.abs().max())), rtol=1e-9)


@every(*EVERY)
@examples(25)
@given(trajectory=batches(), data=st.data())
def test_the_losses_and_gradients_of_micro_batches_add_up_to_those_of_the_whole(
    name: str, trajectory: Trajectory, data: st.DataObject
) -> None:
    places = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=len(trajectory), max_size=len(trajectory))))
    logprobs = policy_of(trajectory)
    whole = learned(grouped(name), trajectory, logprobs)
    mini = learning(grouped(name), trajectory)
    loss, gradient = torch.zeros(()), torch.zeros_like(whole.gradient)
    for place in places.unique():
        rows = (places == place).nonzero()[:, 0]
        micro = select(mini, rows)
        width = micro.response_mask.shape[1]
        part = learned_of(grouped(name), micro, logprobs[rows, :width])
        loss += part.loss
        gradient[rows, :width] += part.gradient
    torch.testing.assert_close(loss, whole.loss, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(gradient, whole.gradient, atol=1e-12, rtol=1e-10)
