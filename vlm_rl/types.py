"""What flows between the four steps, and the one glossary of axes and masks.

Axes: `batch` responses (or queries, in a QueryBatch), `query` prompt tokens (left-padded), `response` sampled tokens
(right-padded), `sequence` = query + response, `vocab`, `token` and `hidden` of an image's features.
One mask, `response_mask`: True = a token that the policy wrote, EOS included. Log-probabilities are in nats, under
softmax(logits / rollout temperature) over the allowed ids.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_rl.datasets.row import Row

Batch = TypeVar("Batch")
Tokens = Float[Tensor, "batch response"]
Mask = Bool[Tensor, "batch response"]


@dataclass(frozen=True, kw_only=True)
class ImageFeatures:
    """What the tower and the connector made of the images of one prompt, in the shape in which the model returns it."""

    pooled: Tensor | tuple[Tensor, ...]  # (image or tile, token, hidden), or (token, hidden) of each image
    deepstack: tuple[tuple[Tensor, ...], ...] | None  # of each layer that reads them, (token, hidden) of each image

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, flat."""
        pooled = (self.pooled,) if isinstance(self.pooled, Tensor) else self.pooled
        return (*pooled, *(image for layer in self.deepstack or () for image in layer))

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def to(self, device: torch.device | str) -> "ImageFeatures":
        """The same features on another device, without their history."""
        pooled, deep = self.pooled, self.deepstack
        return ImageFeatures(
            pooled=pooled.detach().to(device) if isinstance(pooled, Tensor) else tuple(p.detach().to(device) for p in pooled),
            deepstack=None if deep is None else tuple(tuple(image.detach().to(device) for image in layer) for layer in deep),
        )


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """All images of one prompt, as the processor made them together; either its outputs, or features made of them."""

    key: str  # content hashes of the pictures, in order
    inputs: dict[str, Tensor] | None  # the processor's outputs by name: pixels and what the family gives with them
    features: ImageFeatures | None  # of a frozen vision tower


Images = tuple[ImageInput | None, ...]  # of each row; None: a row without images. On the CPU: a forward takes what it needs


@dataclass(frozen=True, kw_only=True)
class QueryBatch:
    """Step I: prompts, left-padded, with the places of their rows in the global batch of this generation step."""

    rows: tuple[Row, ...]
    indices: tuple[int, ...]  # place of each query in the global batch, whatever the rank
    step: int  # generation step, from 0
    query_ids: Int[Tensor, "batch query"]
    attention_mask: Bool[Tensor, "batch query"]
    mm_token_type_ids: Int[Tensor, "batch query"]  # 1 where an image token stands
    position_ids: Int[Tensor, "axis batch query"]  # the model's own positions: 3 axes (time, height, width) or 1
    next_positions: Int[Tensor, " batch"]  # position of the first response token, the same on every axis
    images: Images

    def to(self, device: torch.device | str, **_: Any) -> "QueryBatch":
        """Lightning moves batches by this; images stay where they are, those of a batch can be tens of GB."""
        return _moved(self, device)

    def pin_memory(self) -> "QueryBatch":
        """Lightning asks for it on CUDA; batches are small against responses, so nothing is pinned."""
        return self

    def select(self, chosen: slice) -> "QueryBatch":
        """A run of queries, without the padding that only the others needed."""
        mask = self.attention_mask[chosen]
        start = int(mask.any(0).int().argmax())
        return replace(
            self,
            rows=self.rows[chosen],
            indices=self.indices[chosen],
            query_ids=self.query_ids[chosen, start:],
            attention_mask=mask[:, start:],
            mm_token_type_ids=self.mm_token_type_ids[chosen, start:],
            position_ids=self.position_ids[:, chosen, start:],
            next_positions=self.next_positions[chosen],
            images=self.images[chosen],
        )


@dataclass(frozen=True, kw_only=True)
class Response:
    """One answer of the policy, as rewards and records see it."""

    text: str
    finish_reason: str  # "stop": ended by a stop id; "length": cut off
    num_tokens: int  # EOS included


@dataclass(frozen=True, kw_only=True)
class ResponseBatch:
    """Step II: the responses to a QueryBatch, all samples of a query side by side, right-padded."""

    num_samples: int  # responses for each query
    response_ids: Int[Tensor, "batch response"]
    response_mask: Mask
    engine_logprobs: Tokens  # what the engine says it sampled from; 0 off the mask
    responses: tuple[Response, ...]

    @property
    def terminated(self) -> Bool[Tensor, " batch"]:
        """True = the policy ended the response itself."""
        ended = [response.finish_reason == "stop" for response in self.responses]
        return torch.tensor(ended, device=self.response_ids.device)


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Step III: queries and responses as one sequence, and all that the update needs to know about each token."""

    indices: Int[Tensor, " batch"]  # place of each response in the global batch: query * group size + sample
    input_ids: Int[Tensor, "batch sequence"]
    attention_mask: Bool[Tensor, "batch sequence"]
    mm_token_type_ids: Int[Tensor, "batch sequence"]
    position_ids: Int[Tensor, "axis batch sequence"]
    images: Images
    response_mask: Mask  # over the last columns of the sequence
    terminated: Bool[Tensor, " batch"]
    scores: Float[Tensor, " batch"]
    engine_logprobs: Tokens
    old_logprobs: Tokens | None  # None: a single update, the new ones detached are the old ones
    ref_logprobs: Tokens | None  # None: no KL term asks for them
    rollout_weights: Tokens | None  # of the policy loss, 0 off the mask; None: no rollout correction is active
    token_weights: Tokens  # share of each token in the loss of its mini-batch; a mean's add up to 1 over all ranks

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def response_ids(self) -> Int[Tensor, "batch response"]:
        """The tokens after the query."""
        return self.input_ids[:, self.input_ids.shape[1] - self.response_mask.shape[1] :]

    @property
    def lengths(self) -> Int[Tensor, "batch 2"]:
        """Tokens of the query and of the response, without padding."""
        responses = self.response_mask.sum(1)
        return torch.stack([self.attention_mask.sum(1) - responses, responses], dim=1)

    def select(self, chosen: Int[Tensor, " chosen"]) -> "Trajectory":
        """Some rows, without the padding that only the others needed."""
        mask, response_mask = self.attention_mask[chosen], self.response_mask[chosen]
        num_query = mask.shape[1] - response_mask.shape[1]
        start = int(mask.any(0).int().argmax())
        width = int(response_mask.any(0).sum())
        sequence, response = slice(start, num_query + width), slice(0, width)
        return Trajectory(
            indices=self.indices[chosen],
            input_ids=self.input_ids[chosen, sequence],
            attention_mask=mask[:, sequence],
            mm_token_type_ids=self.mm_token_type_ids[chosen, sequence],
            position_ids=self.position_ids[:, chosen, sequence],
            images=tuple(self.images[i] for i in chosen.tolist()),
            response_mask=response_mask[:, response],
            terminated=self.terminated[chosen],
            scores=self.scores[chosen],
            engine_logprobs=self.engine_logprobs[chosen, response],
            old_logprobs=None if self.old_logprobs is None else self.old_logprobs[chosen, response],
            ref_logprobs=None if self.ref_logprobs is None else self.ref_logprobs[chosen, response],
            rollout_weights=None if self.rollout_weights is None else self.rollout_weights[chosen, response],
            token_weights=self.token_weights[chosen, response],
        )


@dataclass(frozen=True, kw_only=True)
class UpdateStats:
    """Step IV: what the optimizer steps of one generation step did; means over all tokens of all ranks."""

    loss: float
    kl: float  # k3 against the reference; NaN where no reference was asked for
    entropy: float  # of the full distribution over the allowed ids, nats
    ratio: float
    clip_fraction: float
    gradient_norm: float  # before clipping, mean over updates
    learning_rate: float
    skipped_updates: int  # non-finite loss or gradient


def _moved(batch: Batch, device: torch.device | str) -> Batch:
    tensors = {f.name: v.to(device) for f in fields(batch) if isinstance(v := getattr(batch, f.name), Tensor)}  # type: ignore[arg-type]
    return replace(batch, **tensors)  # type: ignore[type-var]
