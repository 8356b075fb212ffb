"""Five steps of RL on every family; what they changed is saved, loaded and read by plain PEFT."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families.trials import by_transformers, forced
from peft import PeftModel
from tiny_runs import Hand, roll_out, trained
from torch import Tensor
from transformers import AutoModelForImageTextToText

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models import parts
from vlm_rl.pipeline.step4_policy_update import PolicyUpdate

NUM_STEPS = 5


def weights(experiment: Experiment) -> dict[str, Tensor]:
    """All of them, copied, under the names that they have without adapters."""
    state = experiment.policy.vlm.state_dict()
    return {name.replace(".base_layer", ""): value.clone() for name, value in state.items()}


@pytest.fixture(scope="session")
def learner(family_whole: Experiment) -> Experiment:
    """Five generation steps old."""
    experiment = family_whole
    settings = replace(experiment.policy.optimization, learning_rate=1e-2)
    hand = Hand(experiment, optimizer=settings.optimizer(parts.trained(experiment.policy.vlm), scale=1.0))
    update = PolicyUpdate(algorithm=experiment.algorithm, batch_size=2, seed=0, max_skipped_updates=1)
    experiment.policy.vlm.train()
    for step in range(NUM_STEPS):
        stats = update.update(roll_out(experiment, step=step), experiment.policy, hand.stepper, step=step)
        assert stats.gradient_norm > 0
    experiment.policy.vlm.eval()
    return experiment


def test_five_steps_change_every_adapter_and_not_one_bit_of_the_base(
    learner: Experiment, family: str, family_folder: Callable[[str], Path]
) -> None:
    fresh = AutoModelForImageTextToText.from_pretrained(family_folder(family)).state_dict()
    now = weights(learner)
    assert all(torch.equal(now[name], value) for name, value in fresh.items())
    moved = {name: value for name, value in now.items() if name not in fresh}
    assert len(moved) == len(trained(learner.policy)) == 42
    assert all(value.abs().max() > 0 for name, value in moved.items() if "lora_B" in name)  # they began at zero


def test_saved_and_loaded_adapters_are_the_same_policy_here_and_in_plain_peft(
    learner: Experiment,
    family: str,
    family_variant: Callable[..., Experiment],
    family_folder: Callable[[str], Path],
    mixed_rows: list[Row],
    tmp_path: Path,
) -> None:
    trajectory = forced(learner, mixed_rows)
    with torch.no_grad():
        expected = learner.policy.statistics(trajectory).logprobs
        learner.policy.save(tmp_path)
        fresh = family_variant(tremble=False)
        assert not torch.allclose(fresh.policy.statistics(trajectory).logprobs, expected, atol=1e-3)
        fresh.policy.load(tmp_path)
        assert torch.equal(fresh.policy.statistics(trajectory).logprobs, expected)
        plain = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(family_folder(family)), tmp_path).eval()
        found = by_transformers(learner, mixed_rows, trajectory, model=plain)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
