"""Loss and gradient of a mini-batch do not depend on how it was cut, padded or ordered."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_runs import Build, largest_difference, shuffled, standing, trained
from torch import Tensor
from torch.nn.functional import pad

from vlm_rl.commands.build import Experiment
from vlm_rl.pipeline.step4_policy_update import NonFiniteUpdates
from vlm_rl.types import Trajectory, UpdateStats, select


@pytest.fixture(scope="module")
def learner(built: Build) -> Experiment:
    return built("algorithm.group_size=2", "model.optimization.max_grad_norm=1e9")


def at_rest(
    experiment: Experiment, trajectory: Trajectory, *, micro_batch_tokens: int = 8192
) -> tuple[UpdateStats, list[dict[str, Tensor]]]:
    """The updates of one generation step at a learning rate of 0, and the gradient of each."""
    experiment.policy.optimization = replace(experiment.policy.optimization, micro_batch_tokens=micro_batch_tokens)
    stats, hand = standing(experiment, trajectory)
    return stats, hand.seen


def assert_same(left: tuple[UpdateStats, list[dict[str, Tensor]]], right: tuple[UpdateStats, list[dict[str, Tensor]]]) -> None:
    differences = [largest_difference(*pair) for pair in zip(left[1], right[1], strict=True)]
    print(f"largest difference between gradients: {max(differences):.2e} of the largest entry")
    assert max(differences) < 2e-5
    assert right[0].__dict__ == pytest.approx(left[0].__dict__, rel=1e-5, abs=1e-7)


def test_neither_the_split_into_micro_batches_nor_the_order_of_the_responses_changes_anything(
    learner: Experiment, trajectory: Trajectory
) -> None:
    expected = at_rest(learner, trajectory)
    assert len(expected[1]) == learner.algorithm.num_minibatches == 2
    assert expected[0].gradient_norm > 0.01  # there is something to learn
    for micro_batch_tokens in (1, 200):  # one row each, a few
        assert_same(expected, at_rest(learner, trajectory, micro_batch_tokens=micro_batch_tokens))
    order = torch.randperm(len(trajectory), generator=torch.Generator().manual_seed(0)).tolist()
    assert_same(expected, at_rest(learner, shuffled(trajectory, order)))


def widened(trajectory: Trajectory, *, left: int, right: int) -> Trajectory:
    """More padding on both sides, filled with what must not matter."""

    def sequence(values: Tensor, filler: int) -> Tensor:
        return pad(values, (left, right), value=filler)

    def response(values: Tensor | None) -> Tensor | None:
        return None if values is None else pad(values, (0, right), value=7 if values.is_floating_point() else 0)

    return replace(
        trajectory,
        input_ids=sequence(trajectory.input_ids, 5),
        attention_mask=sequence(trajectory.attention_mask, 0),
        mm_token_type_ids=sequence(trajectory.mm_token_type_ids, 0),
        position_ids=sequence(trajectory.position_ids, 3),
        response_mask=response(trajectory.response_mask),
        engine_logprobs=response(trajectory.engine_logprobs),
        old_logprobs=response(trajectory.old_logprobs),
        ref_logprobs=response(trajectory.ref_logprobs),
        rollout_weights=response(trajectory.rollout_weights),
    )


@pytest.mark.slow
def test_padding_changes_neither_statistics_nor_gradients(learner: Experiment, trajectory: Trajectory) -> None:
    wide = widened(trajectory, left=9, right=5)
    policy, width = learner.policy, trajectory.response_mask.shape[1]
    with torch.no_grad():
        narrow, padded = policy.statistics(trajectory), policy.statistics(wide)
    torch.testing.assert_close(padded.logprobs[:, :width], narrow.logprobs, atol=2e-5, rtol=0)
    torch.testing.assert_close(padded.entropy[:, :width], narrow.entropy, atol=2e-5, rtol=0)
    assert padded.logprobs[:, width:].eq(0).all()
    assert_same(at_rest(learner, trajectory), at_rest(learner, wide))


@pytest.mark.slow
@pytest.mark.parametrize("why", ["equal rewards", "truncated responses that are masked"])
def test_what_has_no_advantage_moves_nothing_but_the_kl_term(built: Build, trajectory: Trajectory, why: str) -> None:
    experiment = built("algorithm.group_size=2", "algorithm.kl_loss_coef=0", "algorithm.mask_truncated=true")
    ended = torch.full_like(trajectory.terminated, why == "equal rewards")
    scores = torch.full((16,), 0.3) if why == "equal rewards" else trajectory.scores
    stats, gradients = at_rest(experiment, replace(trajectory, scores=scores, terminated=ended, ref_logprobs=None))
    assert stats.loss == stats.gradient_norm == 0
    assert all(gradient.eq(0).all() for update in gradients for gradient in update.values())


def test_before_the_first_step_every_ratio_is_one_and_nothing_is_clipped(learner: Experiment, trajectory: Trajectory) -> None:
    stats, _ = at_rest(learner, trajectory)
    assert stats.ratio == pytest.approx(1, abs=1e-5)
    assert stats.clip_fraction == 0
    assert trajectory.ref_logprobs is not None and trajectory.old_logprobs is not None
    d = (trajectory.ref_logprobs - trajectory.old_logprobs).double()
    k3 = (d.exp() - d - 1)[trajectory.response_mask].mean().item()
    assert k3 > 1e-4
    assert stats.kl == pytest.approx(k3, rel=1e-3)
    with torch.no_grad():
        entropy = learner.policy.statistics(trajectory).entropy[trajectory.response_mask].mean().item()
    assert stats.entropy == pytest.approx(entropy, rel=1e-5)


def test_the_clip_fraction_counts_the_tokens_that_the_clip_held_back(learner: Experiment, trajectory: Trajectory) -> None:
    assert trajectory.old_logprobs is not None
    shifted = replace(trajectory, old_logprobs=trajectory.old_logprobs - 0.5 * trajectory.response_mask)
    stats, _ = at_rest(learner, shifted)  # every ratio is exp(0.5): held where the advantage is positive
    positive = learner.algorithm.advantages(shifted)[shifted.response_mask] > 0
    assert stats.ratio == pytest.approx(math.exp(0.5), rel=1e-4)
    assert stats.clip_fraction == pytest.approx(positive.float().mean().item())


def test_a_loss_that_is_not_finite_skips_its_update_and_too_many_in_a_row_stop_the_run(
    learner: Experiment, trajectory: Trajectory
) -> None:
    before = {name: p.detach().clone() for name, p in trained(learner.policy).items()}
    broken = replace(trajectory, ref_logprobs=torch.full_like(trajectory.engine_logprobs, torch.nan))
    one = replace(broken, ref_logprobs=torch.where(broken.indices[:, None] == 3, broken.ref_logprobs, trajectory.ref_logprobs))
    stats, seen = at_rest(learner, one)
    assert stats.skipped_updates == 1
    assert len(seen) == 1
    assert math.isfinite(stats.gradient_norm) and math.isfinite(stats.loss)  # those of the update that was made
    with pytest.raises(NonFiniteUpdates, match="2 updates in a row"):
        at_rest(learner, broken)
    assert all(torch.equal(p, before[name]) for name, p in trained(learner.policy).items())


@pytest.mark.slow
def test_the_gradient_is_clipped_to_its_norm(built: Build, trajectory: Trajectory) -> None:
    clipped = built("algorithm.group_size=2", "model.optimization.max_grad_norm=1e-3")
    stats, gradients = at_rest(clipped, trajectory)
    norms = [math.sqrt(sum(float(g.square().sum()) for g in update.values())) for update in gradients]
    assert norms == pytest.approx([1e-3, 1e-3], rel=1e-3)
    assert stats.gradient_norm > 1e-3


def test_a_rank_without_a_share_of_the_batch_makes_its_updates_all_the_same(
    learner: Experiment, trajectory: Trajectory
) -> None:
    nothing = select(trajectory, torch.tensor([], dtype=torch.long))
    stats, seen = at_rest(learner, nothing)
    assert seen == [{}, {}]  # two steps, no gradient of its own
    assert stats.gradient_norm == 0 and math.isnan(stats.entropy)
