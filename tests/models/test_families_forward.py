"""Training's forward pass and gradients against `model(**processor_output)`, for every family through its own config."""

from collections.abc import Callable

import pytest
import torch
from families.trials import by_transformers, forced, with_features
from tiny_runs import gradients, largest_difference, trained
from torch import Tensor

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models.parts import PARTS, anatomy
from vlm_rl.models.vision import VisionCache
from vlm_rl.types import Samples

GRADIENT_TOLERANCE = 2e-5  # of the largest entry


@pytest.fixture
def trajectory(family_experiment: Experiment, mixed_rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> Samples:
    """Forced responses, pixels still there: nothing is known of these images."""
    monkeypatch.setattr(family_experiment.policy, "vision_cache", VisionCache(max_bytes=0))
    return forced(family_experiment, mixed_rows)


def gradients_of(experiment: Experiment, trajectory: Samples) -> dict[str, Tensor]:
    experiment.policy.statistics(trajectory).logprobs.sum().backward()
    return gradients(experiment.policy)


@torch.no_grad()
@pytest.mark.parametrize("made", [lambda _, trajectory: trajectory, with_features], ids=["pixels", "features"])
def test_left_padded_rows_with_no_one_and_three_images(
    family_experiment: Experiment, mixed_rows: list[Row], trajectory: Samples, made: Callable[..., Samples]
) -> None:
    assert not trajectory.attention_mask[:, 0].all()  # there is padding on the left
    logprobs = family_experiment.policy.statistics(made(family_experiment, trajectory)).logprobs
    expected = by_transformers(family_experiment, mixed_rows, trajectory)
    torch.testing.assert_close(logprobs, expected, atol=2e-5, rtol=0)
    assert (logprobs < -0.1).sum() == 12  # 6 + 2 + 4 tokens, none of them sure


def test_features_made_before_made_now_and_raw_pixels_give_equal_gradients(
    family_experiment: Experiment, trajectory: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = gradients_of(family_experiment, with_features(family_experiment, trajectory))
    assert all(gradient.abs().max() > 0 for gradient in before.values())
    assert largest_difference(before, gradients_of(family_experiment, trajectory)) <= GRADIENT_TOLERANCE
    family_experiment.policy.vlm.train()  # with gradient checkpointing
    checkpointed = gradients_of(family_experiment, with_features(family_experiment, trajectory))
    family_experiment.policy.vlm.eval()
    assert largest_difference(before, checkpointed) <= GRADIENT_TOLERANCE
    monkeypatch.setattr(family_experiment.policy, "takes_features", False)
    assert largest_difference(before, gradients_of(family_experiment, trajectory)) <= GRADIENT_TOLERANCE


def test_gradients_of_a_trained_tower_with_checkpointing_are_those_of_the_plain_model_without(
    family_variant: Callable[..., Experiment], mixed_rows: list[Row]
) -> None:
    experiment = family_variant(freeze=[])
    trajectory, policy = forced(experiment, mixed_rows), experiment.policy
    assert policy.vlm.is_gradient_checkpointing
    policy.vlm.train()  # only then anything is computed twice
    ours = gradients_of(experiment, trajectory)
    policy.vlm.eval()
    by_transformers(experiment, mixed_rows, trajectory).sum().backward()
    plain, body = gradients(policy), anatomy(policy.vlm)
    assert plain.keys() == ours.keys()
    for part in PARTS:
        names = [name for name in ours if body.part_of(name.removeprefix("vlm.")) == part]
        assert largest_difference({n: ours[n] for n in names}, {n: plain[n] for n in names}) <= GRADIENT_TOLERANCE, part


def test_the_vision_cache_changes_no_bit_of_a_gradient(
    family_experiment: Experiment, family_variant: Callable[..., Experiment], mixed_rows: list[Row]
) -> None:
    found, kept = [], []
    for experiment in (family_experiment, family_variant(vision_cache=0)):
        first = with_features(experiment, forced(experiment, mixed_rows))
        second = forced(experiment, mixed_rows)
        kept.append([image is not None and image.features is not None for image in second.images])
        found.append(gradients_of(experiment, with_features(experiment, second)))
        assert largest_difference(gradients_of(experiment, first), found[-1]) == 0
    assert kept == [[False, True, True], [False, False, False]]
    assert largest_difference(*found) == 0


def test_adapters_are_on_every_linear_layer_of_the_language_part_and_nowhere_else(family_experiment: Experiment) -> None:
    names = trained(family_experiment.policy)
    assert len(names) == 2 * 3 * 7  # two matrices, three layers, seven linear layers in each
    body = anatomy(family_experiment.policy.vlm)
    assert {body.part_of(name.removeprefix("vlm.")) for name in names} == {"language"}
