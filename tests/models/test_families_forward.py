"""Training's forward pass and gradients against `model(**processor_output)`, for every family through its own config."""

from collections.abc import Callable

import pytest
import torch
from families.trials import by_transformers, forced, with_features
from tiny_runs import gradients, largest_difference
from torch import Tensor

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models.parts import PARTS, find_parts
from vlm_rl.models.vision import VisionCache

GRADIENT_TOLERANCE = 2e-5  # of the largest entry


def test_pixels_and_features_give_the_log_probabilities_and_gradients_of_transformers(
    family_experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left-padded rows with no, one and three images at the temperature of the config; adapters on the language part."""
    policy = family_experiment.policy
    monkeypatch.setattr(policy, "vision_cache", VisionCache(max_bytes=0))
    pixels = forced(family_experiment, mixed_rows)
    assert not pixels.attention_mask[:, 0].all()  # there is padding on the left
    expected = by_transformers(family_experiment, mixed_rows, pixels)
    assert (expected < -0.1).sum() == 12  # 6 + 2 + 4 tokens, none of them sure
    expected.sum().backward()
    theirs = gradients(policy)
    assert all(gradient.abs().max() > 0 for gradient in theirs.values())
    for given, takes_features in (
        (with_features(family_experiment, pixels), policy.takes_features),
        (pixels, policy.takes_features),
        (pixels, False),
    ):
        monkeypatch.setattr(policy, "takes_features", takes_features)
        logprobs = policy.statistics(given).logprobs
        torch.testing.assert_close(logprobs, expected, atol=2e-5, rtol=0)
        logprobs.sum().backward()
        assert largest_difference(theirs, gradients(policy)) <= GRADIENT_TOLERANCE


def test_gradients_of_a_trained_tower_with_checkpointing_are_those_of_the_plain_model_without(
    family_variant: Callable[..., Experiment], mixed_rows: list[Row]
) -> None:
    experiment = family_variant(freeze=[])
    trajectory, policy = forced(experiment, mixed_rows), experiment.policy
    assert policy.vlm.is_gradient_checkpointing
    policy.vlm.train()  # only then anything is computed twice
    policy.statistics(trajectory).logprobs.sum().backward()
    ours = gradients(policy)
    policy.vlm.eval()
    by_transformers(experiment, mixed_rows, trajectory).sum().backward()
    theirs, parts = gradients(policy), find_parts(policy.vlm)
    assert theirs.keys() == ours.keys()

    def of_part(found: dict[str, Tensor], part: str) -> dict[str, Tensor]:
        return {name: gradient for name, gradient in found.items() if parts.part_of(name.removeprefix("vlm.")) == part}

    for part in PARTS:
        assert largest_difference(of_part(ours, part), of_part(theirs, part)) <= GRADIENT_TOLERANCE, part
