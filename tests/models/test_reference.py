"""The reference is the vanilla model, whatever has been learned since."""

import pytest
import torch
from tiny_runs import Build, Hand, largest_difference, roll_out, trained
from torch import Tensor

from vlm_rl.commands.build import Experiment
from vlm_rl.models.loading import load_pretrained
from vlm_rl.pipeline.step3_trajectory_generation import response_logprobs
from vlm_rl.pipeline.step4_policy_update import PolicyUpdate
from vlm_rl.types import Trajectory

FULL = ("model.lora=null", "model.optimization.learning_rate=1e-3")


def train_a_little(experiment: Experiment, trajectory: Trajectory, *, steps: int = 2) -> None:
    hand = Hand(experiment)
    update = PolicyUpdate(algorithm=experiment.algorithm, batch_size=8, seed=0, max_skipped_updates=1)
    for step in range(steps):
        update.update(trajectory, experiment.policy, hand.stepper, step=step)


@pytest.fixture(scope="module")
def original(built: Build) -> Experiment:
    """All parts frozen but language, nothing trained: the weights as they were shipped."""
    return built(*FULL, tremble=False)


def test_disabled_adapters_equal_the_original_model_after_training(built: Build, original: Experiment) -> None:
    learner = built(tremble=False)
    trajectory = roll_out(learner)
    before = response_logprobs(original.policy, trajectory)
    train_a_little(learner, trajectory)
    assert not torch.equal(response_logprobs(learner.policy, trajectory), before)
    with learner.policy.as_reference():
        assert torch.equal(response_logprobs(learner.policy, trajectory), before)
    fresh = load_pretrained("tiny", dtype="float32", attention="sdpa").state_dict()
    now = {name.replace(".base_layer", ""): value for name, value in learner.policy.vlm.state_dict().items()}
    assert all(torch.equal(now[name], value) for name, value in fresh.items())


def test_adapters_begin_as_no_change_at_all(built: Build, original: Experiment) -> None:
    learner = built(tremble=False)
    trajectory = roll_out(learner)
    assert trajectory.ref_logprobs is not None
    torch.testing.assert_close(trajectory.ref_logprobs, response_logprobs(original.policy, trajectory), atol=0, rtol=0)


def test_full_fine_tuning_keeps_a_frozen_copy_that_training_does_not_touch(built: Build) -> None:
    learner = built(*FULL, tremble=False)
    with pytest.raises(RuntimeError, match="keep_reference"), learner.policy.as_reference():
        pass
    size = learner.policy.keep_reference()
    assert size == sum(p.nbytes for p in learner.policy.vlm.parameters())
    trajectory = roll_out(learner)
    before = response_logprobs(learner.policy, trajectory)
    count = len(list(learner.policy.parameters()))
    train_a_little(learner, trajectory)
    assert learner.policy.keep_reference() == size  # the copy is made once
    with learner.policy.as_reference():
        assert torch.equal(response_logprobs(learner.policy, trajectory), before)
    assert not torch.equal(response_logprobs(learner.policy, trajectory), before)
    assert len(list(learner.policy.parameters())) == count  # the copy is neither trained nor saved


def test_training_with_a_kl_term_makes_the_copy_by_itself_and_says_how_large_it_is(
    built: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    learner = built(*FULL, tremble=False)
    learner.module.trainer = FitStart()  # type: ignore[assignment]
    learner.module.on_fit_start()
    assert "frozen copy of the model as the reference" in capsys.readouterr().out
    with learner.policy.as_reference():
        pass
    plain = built(*FULL, "algorithm.kl_loss_coef=0", tremble=False)
    plain.module.trainer = FitStart()  # type: ignore[assignment]
    plain.module.on_fit_start()
    assert capsys.readouterr().out == ""


class FitStart:
    """What on_fit_start asks of Lightning's trainer: the second of two ranks."""

    global_rank, world_size, is_global_zero = 1, 2, True


def test_the_flow_takes_rank_and_first_step_when_the_fit_starts(built: Build) -> None:
    module = built().module
    module.data_flow.start(first_step=3, rank=0, num_ranks=1)
    module.trainer = FitStart()  # type: ignore[assignment]
    module.on_fit_start()
    assert (module.data_flow.first_step, module.data_flow.rank, module.data_flow.num_ranks) == (3, 1, 2)


def gradients_in_training_mode(experiment: Experiment, trajectory: Trajectory) -> dict[str, Tensor]:
    experiment.policy.train()
    experiment.policy.statistics(trajectory).logprobs.sum().backward()
    return {name: p.grad.clone() for name, p in trained(experiment.policy).items() if p.grad is not None}


def test_gradient_checkpointing_samples_and_learns_the_same(built: Build) -> None:
    saving, ordinary = built("model.gradient_checkpointing=true"), built()
    saving.policy.train()
    trajectory, expected = roll_out(saving), roll_out(ordinary)
    assert torch.equal(trajectory.input_ids, expected.input_ids)
    assert saving.policy.vlm.training  # the engine gives the mode back
    left, right = (gradients_in_training_mode(experiment, expected) for experiment in (saving, ordinary))
    assert largest_difference(left, right) < 1e-6


def test_float32_adapters_over_a_bfloat16_base_sample_and_train_alike_to_its_rounding(built: Build) -> None:
    coarse = built("model.dtype=bfloat16")
    assert {p.dtype for p in trained(coarse.policy).values()} == {torch.float32}
    assert {p.dtype for p in coarse.policy.vlm.parameters() if not p.requires_grad} == {torch.bfloat16}
    trajectory = roll_out(coarse)
    assert trajectory.old_logprobs is not None and trajectory.old_logprobs.dtype == torch.float32
    difference = (trajectory.engine_logprobs - trajectory.old_logprobs).abs()[trajectory.response_mask]
    assert difference.mean() < 0.02
    train_a_little(coarse, trajectory, steps=1)
    assert all(p.isfinite().all() for p in coarse.policy.parameters())


def test_what_is_saved_is_loaded(built: Build, tmp_path_factory: pytest.TempPathFactory) -> None:
    for overrides in [(), FULL]:
        folder = tmp_path_factory.mktemp("saved")
        learned, fresh = built(*overrides), built(*overrides, tremble=False)
        learned.policy.save(folder)
        fresh.policy.load(folder)
        now = dict(fresh.policy.named_parameters())
        assert all(torch.equal(p, now[name]) for name, p in learned.policy.named_parameters())
