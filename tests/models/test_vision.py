"""A frozen tower encodes each picture once: features depend on nothing else, and reusing them changes no bit."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from unittest import mock

import pytest
import torch
from tiny_runs import Build, pixels_stay, roll_out, standing
from transformers import PreTrainedModel

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models import vision
from vlm_rl.models.vision import VisionCache
from vlm_rl.types import ImageFeatures, ImageInput, select


@pytest.mark.slow
def test_the_cache_changes_no_bit_of_log_probabilities_and_gradients(built: Build) -> None:
    cached, uncached = built(), built("model.vision_cache=0")
    roll_out(cached)
    warm, cold = roll_out(cached), roll_out(uncached)
    image = warm.images[0]
    assert image is not None and image.features is not None
    kept = cached.policy.vision_cache.get(image.key)
    assert kept is not None
    assert all(left is right for left, right in zip(image.features.tensors, kept.tensors, strict=True))  # nothing is copied
    assert uncached.policy.vision_cache.get(image.key) is None
    assert warm.old_logprobs is not None and cold.old_logprobs is not None
    assert torch.equal(warm.input_ids, cold.input_ids)
    assert torch.equal(warm.engine_logprobs, cold.engine_logprobs)
    assert torch.equal(warm.old_logprobs, cold.old_logprobs)
    left, right = standing(cached, warm)[1].seen, standing(uncached, cold)[1].seen
    assert all(torch.equal(left[0][name], right[0][name]) for name in left[0])


def test_a_row_and_its_features_are_the_same_whatever_its_neighbours(experiment: Experiment, mixed_rows: list[Row]) -> None:
    for context in (pixels_stay(), nullcontext()):
        experiment.policy.vision_cache = VisionCache(max_bytes=0)
        with context:
            together = experiment.encoder.batch(mixed_rows, indices=range(3), step=0)
            singly = [experiment.encoder.batch([row], indices=[i], step=0) for i, row in enumerate(mixed_rows)]
        for i, (row, alone) in enumerate(zip(mixed_rows, singly, strict=True)):
            taken = select(together, slice(i, i + 1))
            for name in ("query_ids", "position_ids", "mm_token_type_ids", "next_positions"):
                assert torch.equal(getattr(alone, name), getattr(taken, name))
            left, right = (tensors_of(batch.images[0]) for batch in (alone, taken))
            assert bool(left) == bool(row.images)
            assert all(torch.equal(*pair) for pair in zip(left, right, strict=True))


def tensors_of(images: ImageInput | None) -> list[torch.Tensor]:
    """Pixels and counts, or features."""
    if images is None:
        return []
    return list(images.inputs.values()) if images.features is None else list(images.features.tensors)  # type: ignore[union-attr]


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often the vision tower encodes the images of each prompt meanwhile."""
    calls, encode = Counter[str](), vision.features_of

    def counting(vlm: PreTrainedModel, images: ImageInput) -> ImageFeatures:
        calls[images.key] += 1
        return encode(vlm, images)

    with mock.patch.object(vision, "features_of", counting):
        yield calls


def whole_step(experiment: Experiment, *, step: int) -> None:
    """Steps I to IV, parity, reference and two updates of several micro-batches included."""
    policy = experiment.policy
    policy.optimization = replace(policy.optimization, micro_batch_tokens=200, forward_batch_tokens=400)
    trajectory = roll_out(experiment, step=step)
    assert trajectory.old_logprobs is not None and trajectory.ref_logprobs is not None
    assert len(standing(experiment, trajectory, step=step)[1].losses) > 2


@pytest.mark.slow
def test_a_frozen_tower_encodes_the_images_of_a_prompt_once_in_a_step_of_training(built: Build) -> None:
    """Sampling, scoring and updates read the features; without a cache the same images are encoded again at the next epoch."""
    experiment = built("algorithm.group_size=2", "dataset.source.train_rows=8", "model.vision_cache=0")
    with counted() as calls:
        whole_step(experiment, step=0)
        assert len(calls) == 8 and set(calls.values()) == {1}
        whole_step(experiment, step=1)  # the same eight rows: the next epoch
    assert set(calls.values()) == {2}


@pytest.mark.slow
def test_a_frozen_tower_encodes_the_images_of_a_prompt_once_in_an_evaluation(experiment: Experiment) -> None:
    experiment.policy.vision_cache = VisionCache(max_bytes=0)
    split, setting = experiment.evaluator.scheme.cells[0]
    with counted() as calls:
        experiment.evaluator.evaluate(experiment.policy, split=split, setting=setting, epoch=0.0, generation_steps=0)
    assert len(calls) == len(experiment.evaluator.rows(split)) and set(calls.values()) == {1}


def of_bytes(count: int) -> ImageFeatures:
    """An image and what one deep layer reads of it: half of the bytes each."""
    half = torch.zeros(count // 8, 1)
    return ImageFeatures(pooled=(half,), deepstack=((half,),))


def test_the_least_recently_used_features_go_first() -> None:
    cache = VisionCache(max_bytes=2 * 40)
    for key in ("a", "b"):
        cache.put(key, of_bytes(40))
    assert cache.get("a") is not None
    cache.put("c", of_bytes(40))
    assert cache.get("b") is None
    assert cache.get("a") is not None and cache.get("c") is not None
    cache.put("larger than the cache", of_bytes(88))
    assert cache.get("a") is not None and cache.get("larger than the cache") is None
