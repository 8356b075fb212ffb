"""Batches in which there is little or nothing to learn from: no tokens, no EOS, one token, no spread, policies far apart."""

from dataclasses import replace

import pytest
import torch
from arbitrary_batches import GROUP, SCORES, assert_same, batches, every, examples, grouped, learned, policy_of, scored
from every_algorithm import BY_GROUP, EVERY, POLICY_GRADIENTS
from hypothesis import given
from hypothesis import strategies as st
from trajectories import bare

from vlm_rl.types import Trajectory, select

pytestmark = pytest.mark.usefixtures("float64")


@every(*EVERY)
@examples(25)
@given(trajectory=batches())
def test_a_response_without_tokens_has_no_share_in_the_loss(name: str, trajectory: Trajectory) -> None:
    empty = ~trajectory.response_mask.any(1)
    result = learned(grouped(name), trajectory, policy_of(trajectory))
    assert all(value.isfinite().all() for value in vars(result).values())
    for values in (result.advantages, result.weights, result.gradient):
        assert values[empty].eq(0).all()
    others = select(trajectory, (~empty).nonzero()[:, 0])
    width = others.response_mask.shape[1]
    alone = grouped(name).token_weights(grouped(name).loss_mask(others))
    counted = len(others) / len(trajectory) if name == "dr_grpo" else 1.0  # its constant is over all that was sampled
    torch.testing.assert_close(result.weights[~empty, :width], counted * alone)


@every(*EVERY)
def test_a_batch_without_any_token_is_worth_nothing(name: str) -> None:
    nothing = torch.zeros(GROUP, 2, dtype=torch.bool)
    filler = torch.zeros(GROUP, 2)
    blank = bare([2] * GROUP, scores=[0.0, 1.0, 2.0], old=filler, ref=filler)
    result = learned(grouped(name), replace(blank, response_mask=nothing), filler)
    assert all(value.eq(0).all() for value in vars(result).values())


@every(*POLICY_GRADIENTS)
@examples(15)
@given(trajectory=batches(terminated=False))
def test_when_all_are_cut_off_and_masked_nothing_is_learned(name: str, trajectory: Trajectory) -> None:
    result = learned(grouped(name, mask_truncated=True), trajectory, policy_of(trajectory))
    assert result.advantages.isfinite().all()
    assert result.loss == 0
    assert result.weights.eq(0).all() and result.gradient.eq(0).all()


@examples(15)
@given(trajectory=batches(terminated=False))
def test_when_all_are_cut_off_before_eos_reinforce_pp_has_nothing_to_compare(trajectory: Trajectory) -> None:
    assert scored("reinforce_pp", score_at="eos").advantages(trajectory).eq(0).all()


@every("dapo", "gspo")
@examples(25)
@given(trajectory=batches(least=1, most=1))
def test_with_one_token_each_grpo_dapo_and_gspo_are_one_algorithm(name: str, trajectory: Trajectory) -> None:
    clips = {"clip_low": 0.1, "clip_high": 0.2, "kl_loss_coef": 0.1, "kl_loss_estimator": "k3"}
    logprobs = policy_of(trajectory)
    found, expected = (learned(grouped(which, **clips), trajectory, logprobs) for which in (name, "grpo"))
    assert_same(found, expected)


@every(*POLICY_GRADIENTS)
@examples(25)
@given(trajectory=batches(terminated=True), value=SCORES, unit=st.sampled_from([1.0, 0.1, 1e4]))
def test_equal_scores_teach_exactly_nothing(name: str, trajectory: Trajectory, value: float, unit: float) -> None:
    equal = replace(trajectory, scores=torch.full_like(trajectory.scores, value * unit))
    result = learned(scored(name), equal, policy_of(trajectory))
    assert result.advantages.eq(0).all()
    assert result.gradient.eq(0).all()


@every(*BY_GROUP)
@examples(25)
@given(trajectory=batches(least=1), value=SCORES)
def test_a_group_of_equal_scores_teaches_exactly_nothing_whatever_the_others_do(
    name: str, trajectory: Trajectory, value: float
) -> None:
    first = torch.arange(len(trajectory)) < GROUP
    mixed = replace(trajectory, scores=torch.where(first, value, trajectory.scores))
    result = learned(scored(name), mixed, policy_of(trajectory))
    assert result.advantages[first].eq(0).all()
    assert result.gradient[first].eq(0).all()


@every(*EVERY)
@pytest.mark.parametrize("nats", [-200.0, -15.0, 15.0, 200.0])
def test_loss_and_gradient_stay_finite_in_float32_however_far_the_policies_are_apart(name: str, nats: float) -> None:
    whole = bare([2, 1, 3, 3, 2, 2], scores=[1.0, 0.0, 0.3, 0.2, 0.2, 0.2])
    whole = replace(
        whole,
        **{key: value.float() for key, value in vars(whole).items() if torch.is_tensor(value) and value.is_floating_point()},
    )
    old = -1.0 * whole.response_mask.float()
    result = learned(grouped(name), replace(whole, old_logprobs=old, ref_logprobs=old), old + nats)
    assert result.advantages.dtype == torch.float32
    assert all(value.isfinite().all() for value in vars(result).values())
