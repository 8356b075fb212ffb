"""Where our definitions are not TRL's: by which factor, shown on TRL's own code."""

from dataclasses import replace

import pytest
import torch
from trajectories import mini_batch
from trl_cases import assert_equal, our_outcome, outcome, random_case, scaled, their_outcome

from vlm_rl.types import select

pytestmark = pytest.mark.usefixtures("float64")

ALL_COUNT = ["grpo", "gspo", "rloo"]  # TRL's mean over responses counts those without a learned token
EQUAL = ["dr_grpo", "dapo", "grpo over tokens"]  # ours counts them too, or both count tokens


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [*ALL_COUNT, *EQUAL])
def test_empty_responses_count_in_trls_mean_over_responses_and_not_in_ours(name: str, seed: int) -> None:
    case = random_case(name, seed=seed, num_empty=2)
    count = len(case.trajectory)
    expected = scaled(our_outcome(case), by=(count - 2) / count if name in ALL_COUNT else 1.0)
    if name == "rloo":  # the ratio of an empty response is 1 there: a constant, no gradient
        expected = replace(expected, loss=expected.loss - case.theirs.inputs()["advantages"][1:3].sum().item() / count)
    assert_equal(expected, their_outcome(case))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [*ALL_COUNT[:2], *EQUAL])
def test_masked_truncated_responses_count_in_trls_mean_over_responses_and_not_in_ours(name: str, seed: int) -> None:
    case = random_case(name, seed=seed, mask_truncated=True, trl={"mask_truncated_completions": True})
    share = case.trajectory.terminated.double().mean().item()
    assert 0 < share < 1
    assert_equal(scaled(our_outcome(case), by=share if name in ALL_COUNT else 1.0), their_outcome(case))


@pytest.mark.parametrize("seed", range(0, 8, 2))
def test_rloo_learns_nothing_from_masked_truncated_responses_as_in_trl(seed: int) -> None:
    """Without KL; with it TRL's reward of a truncated response has no KL, ours has. TRL's loss also has a constant for each of them."""
    case = random_case("rloo", seed=seed, mask_truncated=True, trl={"mask_truncated_completions": True})
    ended, advantages = case.trajectory.terminated, case.theirs.inputs()["advantages"]
    expected = scaled(our_outcome(case), by=ended.double().mean().item())
    constant = -advantages[~ended].sum().item() / len(ended)
    assert_equal(replace(expected, loss=expected.loss + constant), their_outcome(case))


@pytest.mark.parametrize("seed", range(3))
def test_dapo_of_one_of_two_mini_batches_is_over_its_own_tokens_and_in_trl_over_half_of_all(seed: int) -> None:
    """TRL divides by the mean number of tokens of the mini-batches of a generation batch, so that all its tokens count the same."""
    case = random_case("dapo", seed=seed, trl={"steps_per_generation": 2})
    rows = torch.arange(len(case.trajectory) // 2)
    part, advantages = select(case.trajectory, rows), case.ours.advantages(case.trajectory)[rows]
    inputs = case.theirs.inputs()
    cut = {name: value[rows] if value.dim() else value for name, value in inputs.items()}
    width = part.response_mask.shape[1]
    batch = mini_batch(part, advantages=advantages[:, :width], weights=case.ours.token_weights(part.response_mask))
    ours = outcome(case, lambda logprobs: case.ours.loss(logprobs[rows, :width], batch).loss)
    half_of_all = case.trajectory.response_mask.sum() / 2
    factor = (part.response_mask.sum() / half_of_all).item()
    assert_equal(scaled(ours, by=factor), outcome(case, lambda logprobs: case.theirs.loss(logprobs[rows], cut)))


@pytest.mark.parametrize("seed", [1, 5])
def test_trls_default_multiplies_the_kl_loss_by_the_ratio_so_it_is_pinned_off(seed: int) -> None:
    case = random_case("grpo", seed=seed, trl={"use_bias_correction_kl": True})
    ours, theirs = our_outcome(case), their_outcome(case)
    assert (ours.gradient - theirs.gradient).norm() > 0.001 * theirs.gradient.norm()


def test_a_log_ratio_past_twenty_nats_is_held_here_and_infinite_in_trl() -> None:
    case = random_case("grpo", seed=1)
    assert case.trajectory.ref_logprobs is not None
    far = case.trajectory.ref_logprobs.clone()
    far[0, 0] += 800
    theirs = replace(case.theirs, trajectory=replace(case.theirs.trajectory, ref_logprobs=far))
    case = replace(case, trajectory=replace(case.trajectory, ref_logprobs=far), theirs=theirs)
    assert our_outcome(case).gradient.isfinite().all()
    assert not their_outcome(case).gradient.isfinite().all()


@pytest.mark.parametrize("seed", range(3))
def test_whitened_rloo_has_variance_one_and_trls_nearly(seed: int) -> None:
    """TRL divides by the standard deviation with n - 1, plus 1e-4; ours by the one with n."""
    case = random_case("rloo", seed=seed, whiten=True, kl_reward_coef=0.0)
    plain, whitened = (
        replace(case.theirs, settings=case.theirs.settings | {"beta": 0.0, "normalize_advantages": on}).inputs()["advantages"]
        for on in (False, True)
    )
    ours = case.ours.advantages(case.trajectory)[:, 0]
    torch.testing.assert_close(ours, whitened * (plain.std() + 1e-4) / plain.std(correction=0), rtol=1e-12, atol=1e-12)
    assert ours.square().mean().item() == pytest.approx(1.0)
