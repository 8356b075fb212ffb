"""What holds for every batch of numbers, and for those from which there is little or nothing to learn."""

from dataclasses import replace

import pytest
import torch
from arbitrary_batches import (
    GROUP,
    SEEDS,
    Learned,
    a_batch,
    assert_same,
    every,
    grouped,
    learned,
    learned_of,
    policy_of,
    scored,
)
from every_algorithm import BY_GROUP, EVERY, POLICY_GRADIENTS
from torch import Tensor
from trajectories import bare, learning

from vlm_rl.types import Trajectory, select

pytestmark = pytest.mark.usefixtures("float64")
FACTORS = (1e-3, 7.0, 1000.0)


@every(*EVERY)
def test_the_order_of_rows_only_orders_the_results(name: str) -> None:
    for seed in SEEDS:
        trajectory, logprobs = a_batch(seed), policy_of(a_batch(seed))
        order = torch.randperm(len(trajectory), generator=torch.Generator().manual_seed(seed))
        whole = learned(grouped(name), trajectory, logprobs)
        shuffled = learned(grouped(name), select(trajectory, order), logprobs[order])
        rows = (whole.advantages[order], whole.weights[order], whole.loss, whole.gradient[order])
        assert_same(shuffled, Learned(**dict(zip(vars(whole), rows, strict=True))))


def widened(values: Tensor, extra: int, *, filler: float) -> Tensor:
    return torch.nn.functional.pad(values, (0, extra), value=filler)


@every(*EVERY)
def test_padding_and_what_stands_in_it_do_not_count(name: str) -> None:
    extra, columns = 2, ("input_ids", "attention_mask", "mm_token_type_ids", "position_ids", "response_mask", "engine_logprobs")
    for seed, filler in zip(SEEDS[:6], (0.0, -3.0, 5.0) * 2, strict=True):
        trajectory, logprobs = a_batch(seed), policy_of(a_batch(seed))
        mask, parts = trajectory.response_mask, (trajectory.old_logprobs, trajectory.ref_logprobs, logprobs)
        old, ref, new = (widened(torch.where(mask, x, i * filler), extra, filler=i * filler) for i, x in enumerate(parts, 1))
        wider = {key: widened(getattr(trajectory, key), extra, filler=0) for key in columns}
        padded = replace(trajectory, **wider, old_logprobs=old, ref_logprobs=ref)
        found, expected = learned(grouped(name), padded, new), learned(grouped(name), trajectory, logprobs)
        filled = {key: widened(getattr(expected, key), extra, filler=0) for key in ("advantages", "weights", "gradient")}
        assert all(values[~padded.response_mask].eq(0).all() for values in (found.advantages, found.weights, found.gradient))
        assert_same(found, replace(expected, **filled))


@every(*POLICY_GRADIENTS)
def test_the_unit_of_the_reward_does_not_matter_where_its_spread_divides_it_and_else_is_that_of_advantages(name: str) -> None:
    for seed in SEEDS:
        for factor in FACTORS:
            trajectory = a_batch(seed)
            found = scored(name).advantages(replace(trajectory, scores=factor * trajectory.scores))
            assert_close(found, scored(name).advantages(trajectory) * (factor if name in ("dr_grpo", "rloo") else 1.0))


@every(*POLICY_GRADIENTS)
def test_what_all_responses_to_a_query_get_does_not_matter(name: str) -> None:
    """To REINFORCE++ neither does what all responses of a batch get."""
    for seed in SEEDS:
        trajectory = a_batch(seed, terminated=True if name == "reinforce_pp" else None)
        shifts = torch.tensor([3.0, -2.0, 5.0]) if name != "reinforce_pp" else torch.full((3,), 4.0)
        shifted = replace(trajectory, scores=trajectory.scores + shifts.repeat_interleave(GROUP)[: len(trajectory)])
        assert_close(scored(name).advantages(shifted), scored(name).advantages(trajectory))


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-9 * max(1.0, float(expected.abs().max())), rtol=1e-9)


@every(*EVERY)
def test_the_losses_and_gradients_of_micro_batches_add_up_to_those_of_the_whole(name: str) -> None:
    for seed in SEEDS:
        trajectory, logprobs = a_batch(seed), policy_of(a_batch(seed))
        places = torch.randint(4, (len(trajectory),), generator=torch.Generator().manual_seed(seed))
        whole, mini = learned(grouped(name), trajectory, logprobs), learning(grouped(name), trajectory)
        loss, gradient = torch.zeros(()), torch.zeros_like(whole.gradient)
        for place in places.unique():
            rows = (places == place).nonzero()[:, 0]
            micro = select(mini, rows)
            width = micro.response_mask.shape[1]
            part = learned_of(grouped(name), micro, logprobs[rows, :width])
            loss += part.loss
            gradient[rows, :width] += part.gradient
        assert_same(replace(whole, loss=loss, gradient=gradient), whole)


# Little or nothing to learn from: no tokens, no EOS, one token, no spread, policies far apart.


@every(*EVERY)
def test_a_response_without_tokens_has_no_share_in_the_loss(name: str) -> None:
    empties = [(~a_batch(seed).response_mask.any(1)) for seed in SEEDS]
    assert any(empty.any() for empty in empties)
    for seed, empty in zip(SEEDS, empties, strict=True):
        trajectory = a_batch(seed)
        result = learned(grouped(name), trajectory, policy_of(trajectory))
        assert all(value.isfinite().all() for value in vars(result).values())
        for values in (result.advantages, result.weights, result.gradient):
            assert values[empty].eq(0).all()
        others = select(trajectory, (~empty).nonzero()[:, 0])
        alone = grouped(name).token_weights(grouped(name).loss_mask(others))
        counted = len(others) / len(trajectory) if name == "dr_grpo" else 1.0  # its constant is over all that was sampled
        torch.testing.assert_close(result.weights[~empty, : alone.shape[1]], counted * alone)


@every(*EVERY)
def test_a_batch_without_any_token_is_worth_nothing(name: str) -> None:
    nothing = torch.zeros(GROUP, 2, dtype=torch.bool)
    filler = torch.zeros(GROUP, 2)
    blank = bare([2] * GROUP, scores=[0.0, 1.0, 2.0], old=filler, ref=filler)
    result = learned(grouped(name), replace(blank, response_mask=nothing), filler)
    assert all(value.eq(0).all() for value in vars(result).values())


@every(*POLICY_GRADIENTS)
def test_when_all_are_cut_off_and_masked_nothing_is_learned(name: str) -> None:
    """Where the score belongs to EOS, there is nothing to compare either."""
    for seed in SEEDS[:4]:
        trajectory = a_batch(seed, terminated=False)
        result = learned(grouped(name, mask_truncated=True), trajectory, policy_of(trajectory))
        assert result.advantages.isfinite().all()
        assert result.loss == 0
        assert result.weights.eq(0).all() and result.gradient.eq(0).all()
        if name == "reinforce_pp":
            assert scored(name, score_at="eos").advantages(trajectory).eq(0).all()


@every("dapo", "gspo")
def test_with_one_token_each_grpo_dapo_and_gspo_are_one_algorithm(name: str) -> None:
    clips = {"clip_low": 0.1, "clip_high": 0.2, "kl_loss_coef": 0.1, "kl_loss_estimator": "k3", "std_epsilon": 1e-4}
    for seed in SEEDS:
        trajectory = a_batch(seed, least=1, most=1)
        assert_same(*(learned(grouped(which, **clips), trajectory, policy_of(trajectory)) for which in (name, "grpo")))


def assert_teaches_nothing(name: str, trajectory: Trajectory, rows: Tensor) -> None:
    result = learned(scored(name), trajectory, policy_of(trajectory))
    assert result.advantages[rows].eq(0).all()
    assert result.gradient[rows].eq(0).all()


@every(*POLICY_GRADIENTS)
def test_equal_scores_teach_exactly_nothing(name: str) -> None:
    for seed, value in zip(SEEDS, (0.0, 1.0, 0.5, -0.25, 0.1, 2.7, 1e4, 0.1 * 1e4), strict=True):
        trajectory = a_batch(seed, terminated=True)
        equal = replace(trajectory, scores=torch.full_like(trajectory.scores, value))
        assert_teaches_nothing(name, equal, torch.arange(len(trajectory)))


@every(*BY_GROUP)
def test_a_group_of_equal_scores_teaches_exactly_nothing_whatever_the_others_do(name: str) -> None:
    for seed, value in zip(SEEDS, (0.0, 1.0, 0.5, -0.25, 0.1, 2.7, -3.0, 0.3), strict=True):
        trajectory = a_batch(seed, least=1)
        first = torch.arange(len(trajectory)) < GROUP
        assert_teaches_nothing(name, replace(trajectory, scores=torch.where(first, value, trajectory.scores)), first)


@every(*EVERY)
@pytest.mark.parametrize("nats", [-200.0, -15.0, 15.0, 200.0])
def test_loss_and_gradient_stay_finite_in_float32_however_far_the_policies_are_apart(name: str, nats: float) -> None:
    whole = bare([2, 1, 3, 3, 2, 2], scores=[1.0, 0.0, 0.3, 0.2, 0.2, 0.2])
    float32 = {key: value.float() for key, value in vars(whole).items() if torch.is_tensor(value) and value.is_floating_point()}
    old = -1.0 * whole.response_mask.float()
    result = learned(grouped(name), replace(whole, **float32, old_logprobs=old, ref_logprobs=old), old + nats)
    assert result.advantages.dtype == torch.float32
    assert all(value.isfinite().all() for value in vars(result).values())
