"""Batches of a stated size, as the model's own processor makes them, and the numbers of a run that memory and time depend on."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.models.family import OF_TEXT, TOKEN_TYPES
from vlm_rl.models.policy import Policy
from vlm_rl.models.prompts import chat
from vlm_rl.models.vision import in_dtype_of
from vlm_rl.pipeline.step3_trajectory_generation import concatenate
from vlm_rl.preflight.scan import DataCheck
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


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What one rank does in one generation step."""

    longest: PromptShape
    typical: PromptShape  # of mean length
    max_new_tokens: int
    batch_size: int  # queries that the update of a generation step learns from
    group_size: int
    num_minibatches: int
    ppo_epochs: int
    forward_batch_size: int  # sequences that the embedded engine samples at a time
    needs_old_logprobs: bool
    needs_reference: bool
    num_ranks: int
    on_gpu: bool  # AdamW takes all weights at once, with temporary copies; pictures wait in the host's memory
    surplus: int = 0  # queries that dynamic sampling samples beyond them

    @property
    def num_queries(self) -> int:
        """Queries that a generation step samples."""
        return self.batch_size + self.surplus

    @property
    def num_responses(self) -> int:
        """Responses that the update of a generation step learns from."""
        return self.batch_size * self.group_size

    @property
    def mini_batch(self) -> int:
        """Responses of one optimizer step."""
        return max(1, self.num_responses // self.num_minibatches)

    @property
    def chunk(self) -> int:
        """Queries that are sampled together."""
        return min(self.num_queries, max(1, self.forward_batch_size // self.group_size))

    def rows_within(self, max_tokens: int) -> int:
        """Responses of full length, to the longest prompt, that fit into a batch of so many tokens; one alone may exceed it."""
        return max(1, max_tokens // (self.longest.tokens + self.max_new_tokens))


def longest(dataset: Dataset, check: DataCheck) -> PromptShape | None:
    """Of the usable rows of all splits, for evaluation shares the device; None where no row is usable."""
    tokens = {split: np.where(_usable(check, split), found.prompt_tokens, 0) for split, found in check.splits.items()}
    split = max(tokens, key=lambda split: tokens[split].max(initial=0))
    if not tokens[split].any():
        return None
    return _shape(dataset, check, split=split, index=int(tokens[split].argmax()))


def typical(dataset: Dataset, check: DataCheck) -> PromptShape | None:
    """Of the usable training rows: tokens are their mean, pictures those of the row next to it."""
    usable = _usable(check, "train")
    if not usable.any():
        return None
    tokens = check.splits["train"].prompt_tokens
    mean = tokens[usable].mean()
    index = int(np.where(usable, np.abs(tokens - mean), np.inf).argmin())
    return replace(_shape(dataset, check, split="train", index=index), tokens=round(mean))


def _usable(check: DataCheck, split: str) -> np.ndarray:
    bad = {problem.row_id for problem in check.splits[split].problems}
    return np.array([row_id not in bad for row_id in check.splits[split].ids], dtype=bool)


def _shape(dataset: Dataset, check: DataCheck, *, split: str, index: int) -> PromptShape:
    found = check.splits[split]
    row = dataset.split(split)[int(found.places[index])]
    seen = replace(row, images=tuple(map(check.looked.at, row.images)))
    return PromptShape(tokens=int(found.prompt_tokens[index]), pictures=tuple(dataset.picture_sizes(seen)))
