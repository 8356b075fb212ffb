"""Batches of a stated size: prompts of so many tokens with pictures of such sizes, as the model's own processor makes them.

What the texts say does not matter here; how long they are, and what the processor makes of a picture, does.
"""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.models.family import OF_TEXT, TOKEN_TYPES
from vlm_rl.models.policy import Policy
from vlm_rl.models.prompts import chat
from vlm_rl.models.vision import in_dtype_of
from vlm_rl.pipeline.step3_trajectory_generation import concatenate
from vlm_rl.types import ImageInput, QueryBatch, Response, ResponseBatch, Samples

NO_ROW = Row(id="", question="", answer="", solution=None, images=())


@dataclass(frozen=True, kw_only=True)
class PromptShape:
    """How large a prompt is."""

    tokens: int  # image tokens included
    pictures: tuple[tuple[int, int], ...]  # (width, height) of each, within dataset.max_pixels


@dataclass(frozen=True, kw_only=True)
class BlankPrompt:
    """A prompt of a stated size: what the encoder would have made of it."""

    ids: Tensor  # (1, query)
    types: Tensor  # (1, query), 1 where an image token stands
    positions: Tensor  # (axis, 1, query)
    inputs: dict[str, Tensor] | None  # of its pictures


def blank_prompt(policy: Policy, shape: PromptShape) -> BlankPrompt:
    """White pictures, and text up to the stated length in front of them."""
    pictures = [Image.new("RGB", size, "white") for size in shape.pictures]
    markers = chat(IMAGE_MARKER * len(pictures) + "?")
    text = policy.processor.apply_chat_template(markers, add_generation_prompt=True, tokenize=False)
    output = policy.processor(
        text=[text], images=[pictures] if pictures else None, return_tensors="pt", add_special_tokens=False
    )
    ids: Tensor = output["input_ids"]
    types: Tensor = next((output[name].long() for name in TOKEN_TYPES if name in output), torch.zeros_like(ids))
    missing = max(0, shape.tokens - ids.shape[1])
    ids = torch.cat([ids[:, -1:].expand(1, missing), ids], dim=1)
    types = torch.cat([types.new_zeros(1, missing), types], dim=1)
    inputs = in_dtype_of(policy.vlm, {name: value for name, value in output.items() if name not in OF_TEXT})
    return BlankPrompt(
        ids=ids, types=types, positions=policy.position_ids(ids, types, inputs), inputs=inputs if pictures else None
    )


def queries(prompt: BlankPrompt, images: tuple[ImageInput | None, ...]) -> QueryBatch:
    """So many prompts; the first of several is a token shorter, so that there is padding, as there is in a run."""
    count = len(images)
    mask = torch.ones(count, prompt.ids.shape[1], dtype=torch.bool)
    mask[0, 0] = count == 1
    positions = prompt.positions.expand(-1, count, -1)
    return QueryBatch(
        rows=(NO_ROW,) * count,
        indices=tuple(range(count)),
        step=0,
        query_ids=prompt.ids.expand(count, -1),
        attention_mask=mask,
        mm_token_type_ids=prompt.types.expand(count, -1),
        position_ids=positions,
        next_positions=positions.amax(dim=(0, 2)) + 1,
        images=images,
    )


def samples(asked: QueryBatch, *, num_tokens: int) -> Samples:
    """One response of `num_tokens` to each query."""
    count = len(asked.rows)
    mask = torch.ones(count, num_tokens, dtype=torch.bool)
    responses = ResponseBatch(
        num_samples=1,
        response_ids=asked.query_ids[:, -1:].expand(-1, num_tokens),
        response_mask=mask,
        engine_logprobs=torch.zeros(mask.shape),
        responses=(Response(text="", finish_reason="length", num_tokens=num_tokens),) * count,
    )
    return concatenate(asked, responses, scores=torch.zeros(count))
