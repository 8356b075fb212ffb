"""What flows between the four steps, and the one glossary of axes and masks.

Axes: `batch` responses (or queries, in a QueryBatch), `query` prompt tokens (left-padded), `response` sampled tokens
(right-padded), `sequence` = query + response, `vocab`, `token` and `hidden` of an image's features.
Two masks: `attention_mask`, True = no padding; `response_mask`, True = a token that the policy wrote, EOS included.
Log-probabilities are in nats, under softmax(logits / rollout temperature) over the allowed ids.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from vlm_rl.datasets.row import Row

Rows = TypeVar("Rows", "QueryBatch", "Samples", "Trajectory", "MiniBatch")
Extended = TypeVar("Extended", bound="Samples")
Tokens = Float[Tensor, "batch response"]
Mask = Bool[Tensor, "batch response"]


@dataclass(frozen=True, kw_only=True)
class ImageFeatures:
    """The images of one prompt after vision tower and connector, in the shape in which the model returns them."""

    pooled: Tensor | tuple[Tensor, ...]  # (image or tile, token, hidden), or (token, hidden) of each image
    deepstack: tuple[tuple[Tensor, ...], ...] | None  # of each layer that reads them, (token, hidden) of each image

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors in one flat tuple."""
        pooled = (self.pooled,) if isinstance(self.pooled, Tensor) else self.pooled
        return (*pooled, *(image for layer in self.deepstack or () for image in layer))

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def to(self, device: torch.device | str) -> "ImageFeatures":
        """The same features on another device, detached from the graph."""
        pooled, deep = self.pooled, self.deepstack
        return ImageFeatures(
            pooled=pooled.detach().to(device) if isinstance(pooled, Tensor) else tuple(p.detach().to(device) for p in pooled),
            deepstack=None if deep is None else tuple(tuple(image.detach().to(device) for image in layer) for layer in deep),
        )


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """All images of one prompt: either the outputs of the processor, or the features that were made of them."""

    key: str  # content hashes of the pictures, in order
    inputs: dict[str, Tensor] | None  # the processor's outputs by name: pixels and what the family gives with them
    features: ImageFeatures | None  # of a frozen vision tower


Images = tuple[ImageInput | None, ...]  # one entry for each row, on the CPU; None: a row without images


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
        """Moves the tensors; Lightning calls it. Images stay on the CPU: those of a whole batch can be tens of GB."""
        tensors: dict[str, Any] = {
            f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **tensors)

    def pin_memory(self) -> "QueryBatch":
        """Lightning calls it on CUDA. Nothing is pinned: without its images a batch is small."""
        return self


@dataclass(frozen=True, kw_only=True)
class Response:
    """One response of the policy as text, for rewards and records."""

    text: str
    finish_reason: str  # "stop": ended by a stop id; "length": cut off
    num_tokens: int  # EOS included


@dataclass(frozen=True, kw_only=True)
class ResponseBatch:
    """Step II: the responses to a QueryBatch, all samples of a query side by side, right-padded."""

    num_samples: int  # responses for each query
    response_ids: Int[Tensor, "batch response"]
    response_mask: Mask
    engine_logprobs: Tokens  # as the engine gave them; 0 off the mask
    responses: tuple[Response, ...]
    sources: tuple[str, ...] | None = None  # of each response, the server that sampled it; None: the embedded engine
    sampled_by: "SampledBy | None" = None  # None: the weights of now


@dataclass(frozen=True, kw_only=True)
class SampledBy:
    """The weights of an earlier step, which sampled what is learned from now."""

    weights: tuple[Tensor, ...]  # as Policy.trained_weights gives them
    version: int  # generation steps that they had learned from


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Step III begins: prompts and responses as one sequence, with the score of each response."""

    indices: Int[Tensor, " batch"]  # place of each response in the global batch: query * group size + sample
    input_ids: Int[Tensor, "batch sequence"]
    attention_mask: Bool[Tensor, "batch sequence"]
    mm_token_type_ids: Int[Tensor, "batch sequence"]
    position_ids: Int[Tensor, "axis batch sequence"]
    images: Images
    response_mask: Mask  # over the last columns of the sequence
    terminated: Bool[Tensor, " batch"]  # True = the policy ended the response itself
    scores: Float[Tensor, " batch"]
    engine_logprobs: Tokens  # as the engine gave them; 0 off the mask
    group_size: int = 1  # responses of each query in the global batch: they have one prompt, and may share it

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def response_ids(self) -> Int[Tensor, "batch response"]:
        """The tokens after the query."""
        return self.input_ids[:, self.input_ids.shape[1] - self.response_mask.shape[1] :]

    @property
    def groups(self) -> Int[Tensor, " batch"]:
        """The query of each response: its place in the global batch."""
        return self.indices // self.group_size

    @property
    def lengths(self) -> Int[Tensor, "batch 2"]:
        """Tokens of the query and of the response, without padding."""
        responses = self.response_mask.sum(1)
        return torch.stack([self.attention_mask.sum(1) - responses, responses], dim=1)


@dataclass(frozen=True, kw_only=True)
class Trajectory(Samples):
    """Step III ends: with the log-probabilities that the algorithm needs. Advantages are computed from it."""

    old_logprobs: Tokens | None  # under the policy that sampled; None: not needed, the new ones detached are the old ones
    ref_logprobs: Tokens | None  # under the reference; None: no KL term needs them
    rollout_weights: Tokens | None  # of the policy loss, 0 off the mask; None: no rollout correction is active


@dataclass(frozen=True, kw_only=True)
class MiniBatch(Trajectory):
    """Step IV: what one optimizer step learns from, or a micro-batch of it."""

    advantages: Tokens
    token_weights: Tokens  # share of each token in the loss of the mini-batch; a mean's add up to 1 over all ranks


@dataclass(frozen=True, kw_only=True)
class UpdateStats:
    """Step IV: what the optimizer steps of one generation step did, over all ranks. Loss and gradient norm are means over updates that
    were not skipped, the others means over tokens."""

    loss: float
    kl: float  # k3 against the reference; NaN without a reference
    entropy: float  # of the full distribution over the allowed ids, nats
    ratio: float
    clip_fraction: float
    gradient_norm: float  # before clipping, mean over updates
    learning_rate: float
    skipped_updates: int  # non-finite loss or gradient


def extended(batch: Samples, kind: type[Extended], **known: Any) -> Extended:
    """The same rows with further fields, as the next type (Samples, then Trajectory, then MiniBatch)."""
    return kind(**{field.name: getattr(batch, field.name) for field in fields(batch)}, **known)


def select(batch: Rows, chosen: slice | Int[Tensor, " chosen"]) -> Rows:
    """Some rows of a batch, without the columns of padding that only the other rows needed."""
    mask = batch.attention_mask[chosen]
    start = int(mask.any(0).int().argmax())
    window: dict[str, slice | Tensor] = {"batch": chosen, "query": slice(start, None)}
    if isinstance(batch, Samples):
        width = int(batch.response_mask[chosen].any(0).sum())
        num_query = mask.shape[1] - batch.response_mask.shape[1]
        window |= {"sequence": slice(start, num_query + width), "response": slice(0, width)}
    values = {name: (getattr(batch, name), axes) for name, axes in _axes(type(batch)).items()}  # type: ignore[arg-type]  # a class has a hash
    return replace(batch, **{name: _part(value, axes, window) for name, (value, axes) in values.items()})


def _part(value: Any, axes: Sequence[str], window: Mapping[str, slice | Tensor]) -> Any:
    rows = window["batch"]
    if isinstance(value, Tensor):
        return value[tuple(window.get(axis, slice(None)) for axis in axes)]
    if value is None:
        return None
    return value[rows] if isinstance(rows, slice) else tuple(value[i] for i in rows.tolist())


def joined(parts: Sequence[Extended], *, device: torch.device) -> Extended:
    """The rows of all parts on one device, part after part: queries get more padding on the left, responses on the right."""
    widths = [(part.input_ids.shape[1] - part.response_mask.shape[1], part.response_mask.shape[1]) for part in parts]
    query, response = (max(sizes) for sizes in zip(*widths, strict=True))
    values: dict[str, Any] = {}
    for name, axes in _axes(type(parts[0])).items():  # type: ignore[arg-type]  # a class has a hash
        rows = [getattr(part, name) for part in parts]
        if axes[-1] in ("sequence", "response") and rows[0] is not None:
            more = [((query - left) * (axes[-1] == "sequence"), response - right) for left, right in widths]
            rows = [pad(value, padding) for value, padding in zip(rows, more, strict=True)]
        if isinstance(rows[0], Tensor):
            values[name] = torch.cat([value.to(device) for value in rows], dim=axes.index("batch"))
        elif rows[0] is not None:
            values[name] = tuple(value for part in rows for value in part)
    return replace(parts[0], **values)


@functools.cache
def _axes(kind: type) -> dict[str, tuple[str, ...]]:
    """The axes of each field that has rows, from its annotation: those of a tensor's shape, and "batch" for a tuple."""
    axes = {}
    for name, hint in get_type_hints(kind).items():
        shapes = [member.dim_str for member in (get_args(hint) or (hint,)) if hasattr(member, "dim_str")]
        if shapes or get_origin(hint) is tuple:
            axes[name] = tuple(shapes[0].split()) if shapes else ("batch",)
    return axes
