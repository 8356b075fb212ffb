"""The embedded engine: an own sampling loop over the model's KV cache.

Each prompt is encoded once and shared by its samples; one uniform number decides each token; a sequence that ends makes room for one
that waits. Positions are handed in, so the model's own `rope_deltas` state is never used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_rl.models.lean_adapters import summed_weights
from vlm_rl.models.parts import PARTS
from vlm_rl.models.policy import Policy
from vlm_rl.randomness import uniforms
from vlm_rl.rollout.cache_tokens import room_of
from vlm_rl.rollout.drawing import draw
from vlm_rl.rollout.engine import SamplingSettings
from vlm_rl.rollout.merging import merged
from vlm_rl.rollout.room import has_room
from vlm_rl.rollout.slots import Slots, Waiting, on_device
from vlm_rl.rollout.written import finish
from vlm_rl.types import QueryBatch, ResponseBatch, select

__all__ = ["COMPACT_BELOW", "HuggingFaceEngine", "draw", "finish", "merged"]

COMPACT_BELOW = 0.8  # where nothing waits, slots that have ended are dropped once fewer than this share of them still writes
SPARE_COLUMNS = (
    64  # beyond the longest sequence: the cache moves to the left end of its room after so many tokens at the earliest
)


class HuggingFaceEngine:
    """Samples with the policy itself, in evaluation mode (gradient checkpointing would drop the cache)."""

    synced_parts = frozenset(PARTS)  # the weights are the policy's own

    def __init__(self, *, forward_batch_size: int, max_cache_tokens: int | None = None) -> None:
        self._forward_batch_size, self._max_cache_tokens = forward_batch_size, max_cache_tokens
        self._policy: Policy | None = None

    def load(self, policy: Policy) -> None:
        """The weights are the policy's own: nothing is copied."""
        self._policy = policy

    def generate(self, queries: QueryBatch, settings: SamplingSettings, seeds: np.ndarray) -> ResponseBatch:
        """Responses query by query."""
        return self.generate_each(queries, [settings], [seeds])[0]

    @torch.no_grad()
    def generate_each(
        self, queries: QueryBatch, settings: Sequence[SamplingSettings], seeds: Sequence[np.ndarray]
    ) -> list[ResponseBatch]:
        """The same under several settings of one length: each prompt is read once for all of them."""
        assert self._policy is not None, "load() comes before generate()"
        with self._policy.layout.whole():  # each rank makes as many forwards as its own responses need
            return self._sampled(self._policy, queries, settings, seeds)

    def _sampled(
        self, policy: Policy, queries: QueryBatch, settings: Sequence[SamplingSettings], seeds: Sequence[np.ndarray]
    ) -> list[ResponseBatch]:
        training = policy.vlm.training
        policy.vlm.eval()
        queries = queries.to(policy.device)
        num_samples = sum(setting.num_samples for setting in settings)
        width = queries.query_ids.shape[1] + settings[0].max_new_tokens + SPARE_COLUMNS
        num_slots = self._num_slots(policy, width)
        size = len(queries.rows)
        if not has_room(policy.vlm.config):  # then nobody can join later
            size = max(1, num_slots // num_samples)
            num_slots = size * num_samples
        ids, logprobs = [], []
        for start in range(0, len(queries.rows), size):
            chosen = slice(start, start + size)
            draws = Draws.of(settings, [part[chosen] for part in seeds], device=policy.device)
            with policy.autocast(), summed_weights(policy.vlm):  # cast, or added up, once and not at every token
                writing = Writing(policy, select(queries, chosen), draws, num_slots=num_slots)
                writing.run()
            ids.append(writing.ids[:-1])
            logprobs.append(writing.logprobs[:-1])
        policy.vlm.train(training)
        whole = [torch.cat(parts).view(len(queries.rows), num_samples, -1) for parts in (ids, logprobs)]
        counts = [setting.num_samples for setting in settings]
        parts = zip(counts, *(torch.split(part, counts, dim=1) for part in whole), strict=True)
        return [finish(policy, ids.flatten(0, 1), logprobs.flatten(0, 1), count) for count, ids, logprobs in parts]

    def _num_slots(self, policy: Policy, width: int) -> int:
        """Sequences that write at the same time, where each may have so many tokens."""
        max_tokens = room_of(policy) if self._max_cache_tokens is None else self._max_cache_tokens
        return self._forward_batch_size if max_tokens is None else max(1, min(self._forward_batch_size, max_tokens // width))


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What decides on the tokens of each response, query by query; the last row belongs to slots that write nothing."""

    numbers: Float[Tensor, "response token"]
    temperature: float | Float[Tensor, "response 1"]  # a number where it is the same for all
    top_p: Float[Tensor, " response"] | None  # None: all 1

    @classmethod
    def of(cls, settings: Sequence[SamplingSettings], seeds: Sequence[np.ndarray], *, device: torch.device) -> "Draws":
        """`seeds` (query, sample) for each setting."""
        flat = np.concatenate(seeds, axis=1).reshape(-1)
        numbers = np.stack([*(uniforms(int(seed), count=settings[0].max_new_tokens) for seed in flat)])
        each = [setting for setting in settings for _ in range(setting.num_samples)] * len(seeds[0])
        exact = torch.float32 if device.type == "mps" else torch.float64
        temperature, top_p = ([*(getattr(setting, name) for setting in each), 1.0] for name in ("temperature", "top_p"))
        is_one = len({setting.temperature for setting in settings}) == 1
        return cls(
            numbers=torch.from_numpy(np.concatenate([numbers, numbers[:1]])).to(device, exact),
            temperature=temperature[0] if is_one else torch.tensor(temperature, device=device)[:, None],
            top_p=None if min(top_p) == 1 else torch.tensor(top_p, device=device),
        )


class Writing:
    """All responses to some queries, as many at the same time as there are slots."""

    def __init__(self, policy: Policy, queries: QueryBatch, draws: Draws, *, num_slots: int) -> None:
        num_responses, num_tokens = len(draws.numbers) - 1, draws.numbers.shape[1]
        self._policy, self._draws = policy, draws
        self._waiting = Waiting(policy, queries, num_samples=num_responses // len(queries.rows))
        num_slots = min(num_slots, num_responses)
        spare = SPARE_COLUMNS if num_slots < num_responses else 0
        self._slots = Slots(policy, queries, num_slots=num_slots, num_columns=num_tokens + spare)
        self._lengths = queries.attention_mask.sum(1).cpu().numpy()
        self._ended, self._firsts = np.full(num_slots, True), np.zeros(num_slots, dtype=int)  # on the host
        self._places = torch.full((num_slots,), num_responses, device=policy.device)  # which response a slot writes
        self._written = torch.zeros_like(self._places)  # tokens of it
        self._stop_ids = torch.tensor(policy.stop_ids, device=policy.device)
        self.ids = torch.full(draws.numbers.shape, -1, device=policy.device)
        self.logprobs = torch.zeros(draws.numbers.shape, device=policy.device)

    def run(self) -> None:
        """Until every response has ended."""
        while True:
            self._fill()
            tokens = self._write()
            if self._ended.all() and not len(self._waiting):
                return
            if not len(self._waiting) and 1 - self._ended.mean() < COMPACT_BELOW:
                tokens = self._compact(tokens)
            self._slots.forget_before(int(self._firsts[~self._ended].min(initial=self._slots.end)))
            self._slots.decode(tokens)

    def _fill(self) -> None:
        """Gives the slots that have ended to responses that wait."""
        free = self._ended.nonzero()[0]
        for prompts, rows, places in self._waiting.take(len(free)):
            given, free = free[: len(rows)], free[len(rows) :]
            self._slots.join(prompts, rows=rows, slots=given)
            del prompts  # before the next ones are read
            self._places[on_device(self._policy, given)] = on_device(self._policy, places)
            self._ended[given] = False
            lengths = self._lengths[places // self._waiting.num_samples]
            self._firsts[given] = self._slots.end - np.minimum(lengths, self._slots.width)

    def _write(self) -> Int[Tensor, " slot"]:
        """Draws one token for each slot; the host waits for the device here, and nowhere else."""
        draws, places, written = self._draws, self._places, self._written
        temperature = draws.temperature[places] if isinstance(draws.temperature, Tensor) else draws.temperature
        scores = self._policy.next_token_logprobs(self._slots.hidden, temperature=temperature)
        top_p = 1.0 if draws.top_p is None else draws.top_p[places]
        tokens = draw(scores, draws.numbers[places, written], top_p=top_p)
        self.ids[places, written] = tokens
        self.logprobs[places, written] = scores.gather(-1, tokens[:, None])[:, 0]
        nothing = len(self.ids) - 1
        ends = torch.isin(tokens, self._stop_ids) | (written + 1 == self.ids.shape[1]) | (places == nothing)
        self._places, self._written = places.masked_fill(ends, nothing), (written + 1).masked_fill(ends, 0)
        self._ended = ends.cpu().numpy()
        return tokens

    def _compact(self, tokens: Int[Tensor, " slot"]) -> Int[Tensor, " kept"]:
        """Drops the slots that have ended."""
        alive = (~self._ended).nonzero()[0]
        kept = on_device(self._policy, alive)
        self._slots.keep(alive)
        self._places, self._written = self._places[kept], self._written[kept]
        self._firsts, self._ended = self._firsts[alive], self._ended[alive]
        return tokens[kept]
