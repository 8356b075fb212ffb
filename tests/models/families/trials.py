"""What the tests of all families share: rows through plain Transformers, and responses that nobody sampled."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tiny_runs import pixels_stay
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.pipeline.step3_trajectory_generation import concatenate
from vlm_rl.rollout.huggingface_engine import finish
from vlm_rl.types import Samples

CONFIGS = {  # the file in conf/model that a family is trained with
    "qwen2_vl": "qwen2_vl_7b",
    "qwen2_5_vl": "qwen",
    "qwen3_vl": "qwen3_vl_4b",
    "gemma3": "gemma3_4b",
    "smolvlm": "smolvlm2_2b",
    "idefics3": "smolvlm",
    "llava_onevision": "llava_onevision_7b",
    "internvl": "internvl3_2b",
    "qwen3_5": "qwen3_5_9b",
    "qwen3_5_moe": "qwen3_5_35b_a3b",
    "qwen4_exp": "qwen4_exp",
    "qwen3_vl_moe": "qwen3_vl_30b_a3b",
    "glm4v": "glm4_1v_9b",
    "glm46v": "glm4_6v_flash",
    "glm4v_moe": "glm4_5v",
    "lfm2_vl": "lfm2_vl_1_6b",
    "lfm3_vl": "lfm3_vl_2b",
    "kimi_k25": "kimi_k2_6",
    "gemma4": "gemma4_e2b",
    "gemma4_unified": "gemma4_12b",
    "mistral3": "mistral_small3_1_24b",
    "ministral3": "ministral3_8b",
    "llava": "llava_1_5_7b",
    "llava_next": "llava_next_7b",
    "granite4_vision": "granite4_vision",
    "minicpmv4_6": "minicpm_v4_6",
    "minicpmv4_7": "minicpm_v4_7",
    "aya_vision": "aya_vision_8b",
    "cohere2_vision": "aya_vision_8b",
    "ovis2": "ovis2_2b",
    "muse_glimmer": "muse_glimmer_30b",
}
SETTINGS = (
    *("experiment=smoke", "dataset.batch_size=2", "dataset.ppo_batch_size=2", "dataset.source.train_rows=10"),
    *("dataset.max_new_tokens=8", "rollout.temperature=0.7", "algorithm.group_size=2", "preflight.cache=null"),
    *("model.dtype=float32", "model.lora.rank=4"),
)
ORDINARY_IDS = (270, 470)  # pieces of text in all of the tokenizers
LENGTHS = (6, 2, 4)  # of forced responses


def settings_of(family: str, folder: Path) -> list[str]:
    """The words of a small run with the family's own config over its small model."""
    return [*SETTINGS, f"model={CONFIGS[family]}", f"model.name={folder}"]


def conversation(prompt: str, row: Row) -> list[dict[str, Any]]:
    """A user's turn as a person hands it to Transformers, pictures inside."""
    first, *others = prompt.split(IMAGE_MARKER)
    parts: list[dict[str, Any]] = [{"type": "text", "text": first}]
    for image, text in zip(row.images, others, strict=True):
        parts += [{"type": "image", "image": image.load()}, {"type": "text", "text": text}]
    return [{"role": "user", "content": [part for part in parts if part.get("text") != ""]}]


def processed(processor: ProcessorMixin, prompts: Sequence[str], rows: Sequence[Row]) -> BatchFeature:
    """Transformers' own way from conversations to the model's arguments, padded on the left."""
    output: BatchFeature = processor.apply_chat_template(
        [conversation(prompt, row) for prompt, row in zip(prompts, rows, strict=True)],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    )
    return output


def forced(experiment: Experiment, rows: list[Row]) -> Samples:
    """Rows with drawn responses of given lengths, pixels still there."""
    ids = torch.randint(*ORDINARY_IDS, (len(rows), max(LENGTHS)), generator=torch.Generator().manual_seed(3))
    ids[torch.arange(max(LENGTHS)) >= torch.tensor(LENGTHS)[:, None]] = -1
    responses = finish(experiment.policy, ids, torch.zeros(ids.shape), 1)
    with pixels_stay():
        queries = experiment.encoder.batch(rows, indices=range(len(rows)), step=0)
    return concatenate(queries, responses, scores=torch.zeros(len(rows)))


def with_features(experiment: Experiment, samples: Samples) -> Samples:
    """The same responses with features of a frozen tower in the place of pixels."""
    encode = experiment.policy.encode_images
    return replace(samples, images=tuple(None if images is None else encode(images) for images in samples.images))


def by_transformers(experiment: Experiment, rows: list[Row], trajectory: Samples) -> Tensor:
    """Log-probabilities of the response tokens from the model's own forward; its own prompts, positions, pixels and masks."""
    policy, mask = experiment.policy, trajectory.response_mask
    prompts = [experiment.dataset.prompt_for(row) for row in rows]
    output = processed(policy.processor, prompts, rows)
    output["input_ids"] = torch.cat([output["input_ids"], trajectory.response_ids], dim=1)
    output["attention_mask"] = torch.cat([output["attention_mask"], mask.long()], dim=1)
    for name in ("mm_token_type_ids", "token_type_ids"):
        if name in output:
            output[name] = torch.cat([output[name], torch.zeros_like(trajectory.response_ids)], dim=1)
    logits = policy.vlm(**output).logits[:, -mask.shape[1] - 1 : -1].masked_fill(policy.banned, -torch.inf)
    logprobs = (logits / policy.temperature).log_softmax(-1)
    own: Tensor = logprobs.gather(-1, trajectory.response_ids[..., None])[..., 0]
    return own * mask
