"""Whole parts beside adapters, on every family: exactly these learn, and with the adapters off it is the vanilla model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families.trials import forced
from peft import PeftModel
from tiny_runs import gradients, trained
from transformers import AutoModelForImageTextToText

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models import parts
from vlm_rl.pipeline.step3_trajectory_generation import response_logprobs
from vlm_rl.types import Samples

MIXTURES = {
    "vision and connector in full": {"freeze": [], "lora": {"targets": {"language": "[qkvo]_proj"}}},
    "language in full": {"freeze": ["connector"], "lora": {"targets": {"vision": ".*", "language": None}}},
}
STATES = {
    "vision and connector in full": {"vision": "full", "connector": "full", "language": "LoRA r=4"},
    "language in full": {"vision": "LoRA r=4", "connector": "frozen", "language": "full"},
}


def learn(experiment: Experiment, trajectory: Samples) -> set[str]:
    """Two steps on given responses; returns the names of the parameters that had a gradient."""
    policy = experiment.policy
    optimizer, names = policy.optimization.optimizer(parts.trained(policy.vlm), scale=1e3), set[str]()
    for _ in range(2):
        (-policy.statistics(trajectory).logprobs.sum()).backward()
        optimizer.step()
        names = set(gradients(policy))
    return names


@pytest.mark.slow
@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_mixture_learns_in_its_parts_alone_and_is_saved_and_loaded_by_plain_peft_too(
    mixture: str,
    family_variant: Callable[..., Experiment],
    family_folder: Callable[[str], Path],
    family: str,
    mixed_rows: list[Row],
    tmp_path: Path,
) -> None:
    def make() -> Experiment:
        return family_variant(tremble=False, vision_cache=0, **MIXTURES[mixture])

    experiment = make()
    policy, found = experiment.policy, parts.find_parts(experiment.policy.vlm)
    states = {size.part: size.state.partition(" but ")[0] for size in parts.sizes(policy.vlm)}
    assert states == STATES[mixture]
    given = forced(experiment, mixed_rows)
    vanilla, before = response_logprobs(policy, given), {name: p.detach().clone() for name, p in policy.named_parameters()}
    with_gradient = learn(experiment, given)
    changed = {name for name, p in policy.named_parameters() if not torch.equal(p, before[name])}
    assert changed == with_gradient <= set(trained(policy))
    assert {found.part_of(name.removeprefix("vlm.")) for name in changed} == {
        part for part, state in states.items() if state != "frozen"
    }
    learned = response_logprobs(policy, given)
    assert not torch.allclose(learned, vanilla, atol=1e-2)
    with policy.as_reference():
        assert torch.equal(response_logprobs(policy, given), vanilla)
    policy.save(tmp_path)
    fresh = make()
    fresh.policy.load(tmp_path)
    assert torch.equal(response_logprobs(fresh.policy, given), learned)
    plain = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(family_folder(family)), tmp_path)
    saved = {name.removeprefix("base_model.model."): p for name, p in plain.named_parameters()}
    assert all(torch.equal(saved[name], p) for name, p in policy.vlm.named_parameters())
