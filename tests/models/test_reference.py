"""What Lightning's start of the fit does, and the reference of full fine-tuning."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_runs import Build, Hand, roll_out

from vlm_rl.pipeline.step3_trajectory_generation import response_logprobs
from vlm_rl.pipeline.step4_policy_update import PolicyUpdate

FULL = ("model.lora=null", "model.optimization.learning_rate=1e-3")
SECOND_OF_TWO_RANKS: Any = SimpleNamespace(global_rank=1, world_size=2, is_global_zero=True)  # in place of Lightning's trainer


@pytest.mark.slow
def test_full_fine_tuning_keeps_a_frozen_copy_that_training_does_not_touch(built: Build) -> None:
    learner = built(*FULL, tremble=False)
    policy = learner.policy
    with pytest.raises(RuntimeError, match="keep_reference"), policy.as_reference():
        pass
    size = policy.keep_reference()
    assert size == sum(p.nbytes for p in policy.vlm.parameters())
    trajectory = roll_out(learner)
    before, count = response_logprobs(policy, trajectory), len(list(policy.parameters()))
    update = PolicyUpdate(algorithm=learner.algorithm, batch_size=8, seed=0, max_skipped_updates=1)
    update.update(trajectory, policy, Hand(learner).stepper, step=0)
    assert policy.keep_reference() == size  # the copy is made once
    with policy.as_reference():
        assert torch.equal(response_logprobs(policy, trajectory), before)
    assert not torch.equal(response_logprobs(policy, trajectory), before)
    assert len(list(policy.parameters())) == count  # the copy is neither trained nor saved


@pytest.mark.slow
@pytest.mark.parametrize(("overrides", "keeps"), [((), True), (("algorithm.kl_loss_coef=0",), False)])
def test_the_fit_starts_with_the_rows_of_its_rank_and_with_the_copy_that_a_kl_term_needs(
    built: Build, capsys: pytest.CaptureFixture[str], overrides: tuple[str, ...], keeps: bool
) -> None:
    module = built(*FULL, *overrides, tremble=False).module
    module.data_flow.start(first_step=3, rank=0, num_ranks=1)
    module.trainer = SECOND_OF_TWO_RANKS
    module.on_fit_start()
    assert ("frozen copy of the model as the reference" in capsys.readouterr().out) == keeps
    assert (module.data_flow.first_step, module.data_flow.rank, module.data_flow.num_ranks) == (3, 1, 2)
    if keeps:
        with module.policy.as_reference():
            pass
