"""The embedded engine: an own sampling loop over the model's KV cache.

Each prompt is encoded once and shared by its group; one uniform number decides each token; finished rows leave the batch.
Positions are handed in, so the model's own `rope_deltas` state is never used.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from vlm_rl.models.parts import PARTS
from vlm_rl.models.policy import Policy
from vlm_rl.randomness import uniforms
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.types import QueryBatch, Response, ResponseBatch, select

COMPACT_BELOW = 0.8  # finished rows are dropped once fewer than this share of the rows is alive


def draw(logprobs: Float[Tensor, "batch vocab"], numbers: Float[Tensor, " batch"], *, top_p: float) -> Int[Tensor, " batch"]:
    """The id where the cumulative probability passes the uniform number; top_p keeps the smallest set that reaches it."""
    probabilities = logprobs.double().exp()
    if top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
        ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= top_p, 0)
        return order.gather(-1, _inverse_cdf(ordered, numbers)[:, None])[:, 0]
    return _inverse_cdf(probabilities, numbers)


def _inverse_cdf(weights: Tensor, numbers: Tensor) -> Tensor:
    cumulative = weights.cumsum(-1)
    chosen = torch.searchsorted(cumulative, (numbers * cumulative[:, -1])[:, None], right=True)[:, 0]
    last = weights.shape[-1] - 1 - weights.flip(-1).gt(0).int().argmax(-1)  # rounding must not reach a zero weight
    return torch.minimum(chosen, last)


@dataclass(kw_only=True)
class AliveRows:
    """The rows that still write: their cache, mask, next positions and places in the output."""

    cache: DynamicCache
    attention_mask: Bool[Tensor, "batch sequence"]
    next_positions: Int[Tensor, " batch"]
    places: Int[Tensor, " batch"]
    finished: Bool[Tensor, " batch"]
    num_axes: int  # of positions: 3 with multimodal RoPE

    def drop_finished(self) -> None:
        keep = (~self.finished).nonzero()[:, 0]
        self.cache.reorder_cache(keep)  # layers of every kind have this one, linear attention too
        self.attention_mask, self.next_positions = self.attention_mask[keep], self.next_positions[keep]
        self.places, self.finished = self.places[keep], self.finished[keep]


class HuggingFaceEngine:
    """Samples with the policy itself, in evaluation mode (gradient checkpointing would drop the cache)."""

    synced_parts = frozenset(PARTS)  # the weights are the policy's own

    def __init__(self, *, forward_batch_size: int) -> None:
        self._forward_batch_size = forward_batch_size
        self._policy: Policy | None = None

    def load(self, policy: Policy) -> None:
        """The weights are the policy's own: nothing is copied."""
        self._policy = policy

    @torch.no_grad()
    def generate(self, queries: QueryBatch, settings: SamplingSettings, seeds: np.ndarray) -> ResponseBatch:
        """Responses query by query, `forward_batch_size` sequences at a time."""
        assert self._policy is not None, "load() comes before generate()"
        policy, training = self._policy, self._policy.vlm.training
        policy.vlm.eval()
        queries = queries.to(policy.device)
        size = max(1, self._forward_batch_size // settings.num_samples)
        ids, logprobs = [], []
        for start in range(0, len(queries.rows), size):
            chosen = slice(start, start + size)
            with policy.autocast():  # here, so that weights are cast once and not at every token
                part = self._sample(policy, select(queries, chosen), settings, seeds[chosen].reshape(-1))
            ids.append(part[0])
            logprobs.append(part[1])
        policy.vlm.train(training)
        return finish(policy, torch.cat(ids), torch.cat(logprobs), settings.num_samples)

    def _sample(
        self, policy: Policy, queries: QueryBatch, settings: SamplingSettings, seeds: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        numbers = torch.from_numpy(np.stack([uniforms(int(s), count=settings.max_new_tokens) for s in seeds]))
        numbers = numbers.to(policy.device)
        ids = torch.full(numbers.shape, -1, device=policy.device)
        logprobs = torch.zeros(numbers.shape, device=policy.device)
        stop_ids = torch.tensor(policy.stop_ids, device=policy.device)
        rows, hidden = prefill(policy, queries, num_samples=settings.num_samples)
        for t in range(settings.max_new_tokens):
            scores = policy.next_token_logprobs(hidden, temperature=settings.temperature)
            tokens = draw(scores, numbers[rows.places, t], top_p=settings.top_p)
            ids[rows.places, t] = torch.where(rows.finished, -1, tokens)
            logprobs[rows.places, t] = scores.gather(-1, tokens[:, None])[:, 0]
            rows.finished |= torch.isin(tokens, stop_ids)
            alive = 1 - rows.finished.float().mean().item()
            if alive == 0:
                break
            if alive < COMPACT_BELOW:
                tokens = tokens[~rows.finished]
                rows.drop_finished()
            hidden = decode(policy, rows, tokens)
        return ids, logprobs


def prefill(policy: Policy, queries: QueryBatch, *, num_samples: int) -> tuple[AliveRows, Float[Tensor, "batch hidden"]]:
    """Reads each prompt once and repeats its cache for its samples; returns the rows and the hidden state of each last token."""
    num_rows, width = queries.query_ids.shape
    size = max(1, policy.optimization.forward_batch_tokens // width)  # more sequences can write than be read at once
    parts = [_read(policy, queries, slice(start, start + size)) for start in range(0, num_rows, size)]
    cache, hidden = merged([cache for cache, _ in parts]), torch.cat([hidden for _, hidden in parts])
    count = num_rows * num_samples
    if num_samples > 1:
        cache.reorder_cache(torch.arange(count, device=policy.device) // num_samples)
    rows = AliveRows(
        cache=cache,
        attention_mask=queries.attention_mask.repeat_interleave(num_samples, 0),
        next_positions=queries.next_positions.repeat_interleave(num_samples, 0),
        places=torch.arange(count, device=policy.device),
        finished=torch.zeros(count, dtype=torch.bool, device=policy.device),
        num_axes=len(queries.position_ids),
    )
    return rows, hidden.repeat_interleave(num_samples, 0)


def _read(policy: Policy, queries: QueryBatch, chosen: slice) -> tuple[DynamicCache, Tensor]:
    """Some of the prompts, padded as all of them are: their cache and their last hidden states."""
    cache = DynamicCache(config=policy.vlm.config.get_text_config())
    hidden = policy.hidden(
        ids=queries.query_ids[chosen],
        mask=queries.attention_mask[chosen],
        types=queries.mm_token_type_ids[chosen],
        positions=queries.position_ids[:, chosen],
        images=queries.images[chosen],
        past_key_values=cache,
        use_cache=True,
    )
    return cache, hidden[:, -1].clone()  # alone, so that the states of all other tokens are forgotten


def decode(policy: Policy, rows: AliveRows, tokens: Int[Tensor, " batch"]) -> Float[Tensor, "batch hidden"]:
    """Appends one token to each row; returns the hidden states that decide on the next one."""
    rows.attention_mask = torch.cat([rows.attention_mask, torch.ones_like(rows.attention_mask[:, :1])], dim=1)
    hidden = policy.hidden(
        ids=tokens[:, None],
        mask=rows.attention_mask,
        types=torch.zeros_like(tokens[:, None]),
        positions=rows.next_positions[None, :, None].expand(rows.num_axes, -1, -1),
        images=(),
        past_key_values=rows.cache,
        use_cache=True,
    )
    rows.next_positions = rows.next_positions + 1
    return hidden[:, -1]


def merged(caches: Sequence[DynamicCache]) -> DynamicCache:
    """The caches of several batches of one width as one; layer by layer, so that only one layer is there twice."""
    whole, *others = caches
    for layer, *more in zip(whole.layers, *(cache.layers for cache in others), strict=True) if others else ():
        rowless = _without_rows(layer)
        for name, value in list(vars(layer).items()):
            setattr(layer, name, _together([value, *(vars(other).pop(name) for other in more)], rowless=getattr(rowless, name)))
    return whole


def _without_rows(layer: Any) -> Any:
    """A copy of a cache's layer with no row left: it shows which axis of each tensor is the batch, positions have it second."""
    empty = copy(layer)
    vars(empty).update({name: dict(value) for name, value in vars(layer).items() if isinstance(value, dict)})
    empty.reorder_cache(torch.empty(0, dtype=torch.long))
    return empty


def _together(values: list[Any], *, rowless: Any) -> Any:
    """Tensors along the batch, also those in dictionaries (states of linear attention); numbers are the same in all."""
    if isinstance(values[0], dict):
        return {key: _together([value[key] for value in values], rowless=rowless[key]) for key in values[0]}
    if not isinstance(values[0], Tensor) or values[0].shape == rowless.shape:
        return values[0]
    return torch.cat(values, dim=rowless.shape.index(0))


def finish(policy: Policy, ids: Tensor, logprobs: Tensor, num_samples: int) -> ResponseBatch:
    """Ids with -1 where nothing was written become a response batch, cut to the longest response."""
    lengths = (ids >= 0).sum(1).tolist()
    width = max([1, *lengths])
    ids, logprobs = ids[:, :width], logprobs[:, :width]
    rows = ids.tolist()  # all at once: each transfer waits for a GPU
    written = [row[:length] for row, length in zip(rows, lengths, strict=True)]
    texts = policy.processor.tokenizer.batch_decode(written, skip_special_tokens=True)
    mask, stop_ids = ids >= 0, set(policy.stop_ids)
    return ResponseBatch(
        num_samples=num_samples,
        response_ids=torch.where(mask, ids, policy.pad_id),
        response_mask=mask,
        engine_logprobs=torch.where(mask, logprobs, torch.zeros_like(logprobs)),
        responses=tuple(
            Response(text=text, finish_reason="stop" if set(row[-1:]) & stop_ids else "length", num_tokens=len(row))
            for text, row in zip(texts, written, strict=True)
        ),
    )
