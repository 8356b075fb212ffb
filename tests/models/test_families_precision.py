"""Every family in bfloat16, where parts in two dtypes meet: it samples, learns in float32, and off it is what it was."""

from collections.abc import Callable

import pytest
import torch
from families.trials import forced
from tiny_runs import Hand, roll_out, trained

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models.parts import find_parts
from vlm_rl.pipeline.step3_trajectory_generation import response_logprobs
from vlm_rl.pipeline.step4_policy_update import PolicyUpdate

WAYS = {
    "language in full": ({"freeze": ["vision", "connector"], "lora": None}, {"language"}),
    "vision in full beside adapters": ({"freeze": ["connector"]}, {"vision", "language"}),
}
ROUNDING = 0.02  # nats in the mean, of bfloat16 sums in another order; 0.005 were found


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_step_in_bfloat16(way: str, family_variant: Callable[..., Experiment], mixed_rows: list[Row]) -> None:
    settings, learning = WAYS[way]
    experiment = family_variant(tremble=False, dtype="bfloat16", vision_cache=0, **settings)
    policy, parts = experiment.policy, find_parts(experiment.policy.vlm)
    policy.keep_reference()
    given = forced(experiment, mixed_rows)
    vanilla = response_logprobs(policy, given)
    with policy.as_reference():
        assert torch.equal(response_logprobs(policy, given), vanilla)  # nothing has been learned yet
    trajectory = roll_out(experiment)
    assert trajectory.old_logprobs is not None
    apart = (trajectory.engine_logprobs - trajectory.old_logprobs).abs()[trajectory.response_mask].mean()
    assert apart < ROUNDING
    hand = Hand(experiment)
    update = PolicyUpdate(algorithm=experiment.algorithm, batch_size=2, seed=0, max_skipped_updates=0)
    policy.vlm.train()
    stats = update.update(trajectory, policy, hand.stepper, step=0)
    assert 0 < stats.gradient_norm < torch.inf
    assert {gradient.dtype for seen in hand.seen for gradient in seen.values()} == {torch.float32}
    moving = {name for name, gradient in hand.seen[-1].items() if gradient.abs().max() > 0}
    assert {parts.part_of(name.removeprefix("vlm.")) for name in moving} == learning
    assert {p.dtype for p in trained(policy).values()} == {torch.float32}
    with policy.as_reference():
        assert torch.equal(response_logprobs(policy, given), vanilla)
