"""Advantages from scripted scores are those of TRL's own code, in float64; where they are not, the difference is shown."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from trl_cases import SEEDS, Case, random_case

from vlm_rl.types import select

pytestmark = pytest.mark.usefixtures("float64")

ROUNDING = 1e-12


def ours(case: Case) -> Tensor:
    """One number for each response, after looking that all its tokens have it and padding has none."""
    advantages, mask = case.ours.advantages(case.trajectory), case.trajectory.response_mask
    assert torch.equal(advantages, advantages[:, :1] * mask)
    return advantages[:, 0]


def theirs(case: Case, **settings: object) -> Tensor:
    stub = replace(case.theirs, settings=case.theirs.settings | settings)
    advantages: Tensor = stub.inputs()["advantages"]
    return advantages


def with_epsilon(case: Case, epsilon: float) -> Case:
    return replace(case, ours=replace(case.ours, std_epsilon=epsilon))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scale_by", ["group", "batch", "none"])
def test_grpo_scales_by_the_group_by_the_batch_or_not_at_all_as_trl(scale_by: str, seed: int) -> None:
    case = random_case("grpo", seed=seed, scale_by=scale_by)
    torch.testing.assert_close(ours(case), theirs(case, scale_rewards=scale_by), rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "scale_rewards"), [("dapo", "group"), ("gspo", "group"), ("dr_grpo", "none")])
def test_dapo_and_gspo_normalise_as_trls_grpo_and_dr_grpo_only_centres(name: str, scale_rewards: str, seed: int) -> None:
    case = random_case(name, seed=seed)
    torch.testing.assert_close(ours(case), theirs(case, scale_rewards=scale_rewards), rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("kl_reward_coef", [0.0, 0.05, 0.7])
@pytest.mark.parametrize("seed", SEEDS)
def test_rloo_leaves_one_out_of_scores_less_the_kl_of_the_response_as_trl(seed: int, kl_reward_coef: float) -> None:
    case = random_case("rloo", seed=seed, kl_reward_coef=kl_reward_coef)
    torch.testing.assert_close(ours(case), theirs(case, beta=kl_reward_coef), rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_rows_does_not_matter_to_ours_and_trl_reads_groups_by_place(seed: int) -> None:
    for name in ("grpo", "rloo"):
        case = random_case(name, seed=seed)
        order = torch.randperm(len(case.trajectory), generator=torch.Generator().manual_seed(seed))
        mixed = replace(case, trajectory=select(case.trajectory, order))
        torch.testing.assert_close(ours(mixed), theirs(case)[order], rtol=ROUNDING, atol=ROUNDING)


# Where definitions differ.


@pytest.mark.parametrize("seed", SEEDS)
def test_without_an_epsilon_grpo_is_trls_times_one_plus_a_ten_thousandth_of_the_std(seed: int) -> None:
    case = with_epsilon(random_case("grpo", seed=seed), 0.0)
    std = case.trajectory.scores.view(-1, case.ours.group_size).std(1).repeat_interleave(case.ours.group_size)
    spread = std > 0
    assert spread.any()
    factor = (std + 1e-4) / std
    torch.testing.assert_close(ours(case)[spread], (theirs(case) * factor)[spread], rtol=ROUNDING, atol=ROUNDING)
    assert ours(case)[~spread].eq(0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_whitened_rloo_has_variance_one_and_trls_nearly(seed: int) -> None:
    """TRL divides by the standard deviation with n - 1, plus 1e-4; ours by the one with n."""
    case = random_case("rloo", seed=seed, whiten=True, kl_reward_coef=0.0)
    plain = theirs(case, beta=0.0)
    factor = (plain.std() + 1e-4) / plain.std(correction=0)
    torch.testing.assert_close(
        ours(case), theirs(case, beta=0.0, normalize_advantages=True) * factor, rtol=ROUNDING, atol=ROUNDING
    )
    assert ours(case).square().mean().item() == pytest.approx(1.0)


def test_equal_scores_give_exactly_zero_and_in_trl_rounding_errors_ten_thousand_times_as_large() -> None:
    case = random_case("grpo", seed=4)
    scores = torch.full_like(case.trajectory.scores, 0.1)
    stub = replace(case.theirs, trajectory=replace(case.theirs.trajectory, scores=scores))
    case = replace(case, trajectory=replace(case.trajectory, scores=scores), theirs=stub)
    assert ours(case).eq(0).all()
    assert 0 < theirs(case).abs().max() < 1e-11
