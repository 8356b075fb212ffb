"""The forward pass of training against `model(**processor_output)`, with nothing of ours in between."""

from dataclasses import replace

import pytest
import torch
from tiny_runs import Build, pixels_stay
from torch import Tensor

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import Row
from vlm_rl.models.policy import Policy
from vlm_rl.models.vision import VisionCache
from vlm_rl.pipeline.step3_trajectory_generation import concatenate
from vlm_rl.rollout.huggingface_engine import finish
from vlm_rl.types import Samples, select

LENGTHS = (6, 2, 4)
VOCABULARY = 400  # ordinary ids of the tiny tokenizer


def forced(experiment: Experiment, rows: list[Row]) -> Samples:
    """Rows with drawn responses of given lengths, pixels still there."""
    ids = torch.randint(VOCABULARY, (len(rows), max(LENGTHS)), generator=torch.Generator().manual_seed(3))
    ids[torch.arange(max(LENGTHS)) >= torch.tensor(LENGTHS)[:, None]] = -1
    responses = finish(experiment.policy, ids, torch.zeros(ids.shape), 1)
    with pixels_stay():
        queries = experiment.encoder.batch(rows, indices=range(len(rows)), step=0)
    return concatenate(queries, responses, scores=torch.zeros(len(rows)))


@torch.no_grad()
def by_transformers(experiment: Experiment, rows: list[Row], trajectory: Samples) -> Tensor:
    """Log-probabilities of the response tokens from the model's own forward; its own positions, pixels and masks."""
    policy, mask = experiment.policy, trajectory.response_mask
    output = policy.processor(
        text=[experiment.encoder.prompts.render(row) for row in rows],
        images=[image.load() for row in rows for image in row.images] or None,
        return_tensors="pt",
        padding=True,
        return_mm_token_type_ids=True,
    )
    output["input_ids"] = torch.cat([output["input_ids"], trajectory.response_ids], dim=1)
    output["attention_mask"] = torch.cat([output["attention_mask"], mask.long()], dim=1)
    zeros = torch.zeros_like(trajectory.response_ids)
    output["mm_token_type_ids"] = torch.cat([output["mm_token_type_ids"], zeros], dim=1)
    logits = policy.vlm(**output).logits[:, -mask.shape[1] - 1 : -1].float()
    logits[..., policy.banned] = -torch.inf
    logprobs = (logits / policy.temperature).log_softmax(-1)
    return logprobs.gather(-1, trajectory.response_ids[..., None])[..., 0] * mask


@pytest.mark.parametrize("are_encoded", [False, True])
def test_left_padded_rows_with_no_one_and_three_images(
    experiment: Experiment, mixed_rows: list[Row], are_encoded: bool
) -> None:
    experiment.policy.vision_cache = VisionCache(max_bytes=0)
    trajectory = forced(experiment, mixed_rows)
    assert not trajectory.attention_mask[:, 0].all()  # there is padding on the left
    if are_encoded:
        images = tuple(None if images is None else experiment.policy.encode_images(images) for images in trajectory.images)
        trajectory = replace(trajectory, images=images)
    with torch.no_grad():
        logprobs = experiment.policy.statistics(trajectory).logprobs
    torch.testing.assert_close(logprobs, by_transformers(experiment, mixed_rows, trajectory), atol=2e-5, rtol=0)


def test_each_row_alone_has_the_log_probabilities_that_it_has_in_the_batch(
    experiment: Experiment, mixed_rows: list[Row]
) -> None:
    trajectory = forced(experiment, mixed_rows)
    with torch.no_grad():
        together = experiment.policy.statistics(trajectory)
        for i, length in enumerate(LENGTHS):
            alone = experiment.policy.statistics(select(trajectory, torch.tensor([i])))
            torch.testing.assert_close(alone.logprobs[0], together.logprobs[i, :length], atol=2e-5, rtol=0)
            torch.testing.assert_close(alone.entropy[0], together.entropy[i, :length], atol=2e-5, rtol=0)


def test_text_alone_needs_no_image_path(experiment: Experiment, mixed_rows: list[Row]) -> None:
    rows = [mixed_rows[0]] * 3
    trajectory = forced(experiment, rows)
    with torch.no_grad():
        logprobs = experiment.policy.statistics(trajectory).logprobs
    torch.testing.assert_close(logprobs, by_transformers(experiment, rows, trajectory), atol=2e-5, rtol=0)


def test_temperature_divides_the_logits_in_training_too(built: Build, mixed_rows: list[Row]) -> None:
    warm = built("rollout.temperature=0.7")
    trajectory = forced(warm, mixed_rows)
    with torch.no_grad():
        logprobs = warm.policy.statistics(trajectory).logprobs
    torch.testing.assert_close(logprobs, by_transformers(warm, mixed_rows, trajectory), atol=3e-5, rtol=0)


def test_every_image_and_video_id_of_the_config_is_banned(policy: Policy) -> None:
    banned = set(policy.banned.nonzero()[:, 0].tolist())
    names = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    assert banned >= {policy.processor.tokenizer.convert_tokens_to_ids(name) for name in names}
    assert not banned & set(policy.stop_ids)


def test_gradients_reach_every_adapter_and_nothing_else(experiment: Experiment, mixed_rows: list[Row]) -> None:
    policy = experiment.policy
    policy.statistics(forced(experiment, mixed_rows)).logprobs.sum().backward()
    for name, parameter in policy.named_parameters():
        assert (parameter.grad is not None and parameter.grad.abs().sum() > 0) == parameter.requires_grad, name
    policy.zero_grad(set_to_none=True)
