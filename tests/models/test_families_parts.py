"""Whole parts beside adapters, on every family: what learns is what was asked, and off, it is the vanilla model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from families.trials import forced
from peft import PeftModel
from tiny_runs import gradients, trained
from transformers import AutoModelForImageTextToText

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models import parts
from vlm_rl.models.parts import anatomy
from vlm_rl.pipeline.step3_trajectory_generation import concatenate, response_logprobs
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine
from vlm_rl.types import Samples

MIXTURES = {
    "sight in full": {"freeze": [], "lora": {"targets": {"language": "[qkvo]_proj"}}},
    "language in full": {"freeze": ["connector"], "lora": {"targets": {"vision": ".*", "language": None}}},
}
STATES = {"sight in full": ("full", "full", "LoRA r=4"), "language in full": ("LoRA r=4", "frozen", "full")}


@pytest.fixture(params=MIXTURES)
def mixture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(mixture: str, family_variant: Callable[..., Experiment]) -> Callable[[], Experiment]:
    return lambda: family_variant(tremble=False, vision_cache=0, **MIXTURES[mixture])


def learn(experiment: Experiment, trajectory: Samples) -> set[str]:
    """Two steps on given responses; the names of what had a gradient."""
    policy = experiment.policy
    optimizer, seen = policy.optimization.optimizer(parts.trained(policy.vlm), scale=1e3), {}
    for _ in range(2):
        (-policy.statistics(trajectory).logprobs.sum()).backward()
        optimizer.step()
        seen = gradients(policy)
    return set(seen)


def sampled(experiment: Experiment, rows: list[Row]) -> Samples:
    """Two responses to each row, with the log-probabilities that the engine gave."""
    engine = HuggingFaceEngine(forward_batch_size=256)
    engine.load(experiment.policy)
    settings = SamplingSettings(temperature=experiment.policy.temperature, top_p=1.0, max_new_tokens=8, num_samples=2)
    queries = experiment.encoder.batch(rows, indices=range(len(rows)), step=0)
    responses = engine.generate(queries, settings, np.arange(2 * len(rows)).reshape(-1, 2))
    return concatenate(queries, responses, scores=torch.zeros(2 * len(rows)))


def test_a_mixture_learns_in_its_parts_alone_and_off_it_is_the_vanilla_model(
    make: Callable[[], Experiment],
    mixture: str,
    family: str,
    family_folder: Callable[[str], Path],
    mixed_rows: list[Row],
    tmp_path: Path,
) -> None:
    experiment = make()
    policy, body = experiment.policy, anatomy(experiment.policy.vlm)
    states = {size.part: size.state.partition(" but ")[0] for size in parts.sizes(policy.vlm)}
    assert tuple(states.values()) == STATES[mixture]
    given = forced(experiment, mixed_rows)
    vanilla, before = response_logprobs(policy, given), {name: p.detach().clone() for name, p in policy.named_parameters()}
    with_gradient = learn(experiment, given)
    changed = {name for name, p in policy.named_parameters() if not torch.equal(p, before[name])}
    assert changed == with_gradient <= set(trained(policy))
    assert {body.part_of(name.removeprefix("vlm.")) for name in changed} == {
        p for p, state in states.items() if state != "frozen"
    }
    learned = response_logprobs(policy, given)
    assert not torch.allclose(learned, vanilla, atol=1e-2)
    with policy.as_reference():
        assert torch.equal(response_logprobs(policy, given), vanilla)
    own = sampled(experiment, mixed_rows)
    torch.testing.assert_close(own.engine_logprobs, response_logprobs(policy, own), atol=5e-5, rtol=0)
    policy.save(tmp_path)
    fresh = make()
    fresh.policy.load(tmp_path)
    assert torch.equal(response_logprobs(fresh.policy, given), learned)
    plain = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(family_folder(family)), tmp_path)
    saved = {name.removeprefix("base_model.model."): p for name, p in plain.named_parameters()}
    assert all(torch.equal(saved[name], p) for name, p in policy.vlm.named_parameters())
