"""What the model's bare calls take on as many tokens, and what the arithmetic alone would take. Started by benchmarks/speed.py.

    python benchmarks/speed_floor.py CASE_AS_JSON RESULT.json OURS.json

- Update: forward, LM head over the response tokens, cross-entropy, backward, clipping and AdamW, on rows without padding. Each prompt
  counts once for each update that needs it: an update of 128 responses to 16 prompts has 16 prompts and 128 responses to read.
  Rows are as long as a prompt with its response, so attention has as much to do as in training. The fastest of several sizes counts.
- Decode: each prompt is read once; then one token for each row that still writes, as long as the responses of ours were, from a
  cache that is there beforehand. One softmax and one draw for each token.
- Pictures are not in it; tokens are random. The model is Transformers' with PEFT's adapters, neither of them changed.
- Arithmetic: the FLOP of these calls by torch.utils.flop_counter, over the best rate of a square float32 product on these threads.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from peft import get_peft_model
from speed_case import SpeedCase, read_case
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers.cache_utils import Cache, CacheLayerMixin
from trl_parts import lora_of

from vlm_rl.models.loading import load_model

MICRO_BATCHES = (1024, 2048, 4096, 8192)  # tokens of a forward with gradients that are tried
REPEATS = 5
PRODUCTS = (512, 1024, 2048)  # rows of the square matrices whose product is timed


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What a generation step of ours read and wrote."""

    num_prompts: int
    prompt: int  # tokens of a prompt, the mean
    responses: list[int]  # tokens of each response

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Tokens":
        """The last step of the file that speed_ours.py wrote."""
        step = told["steps"][-1]
        prompts = step["prompt_tokens"]
        return cls(num_prompts=len(prompts), prompt=round(mean(prompts)), responses=step["response_tokens"])


class Ready(CacheLayerMixin):  # type: ignore[misc]
    """A cache layer that is there beforehand; it hands out views. Rows that stopped are the last ones."""

    def __init__(self, *, rows: int, length: int) -> None:
        super().__init__()
        self._rows, self._length, self._seen = rows, length, 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Room for all rows and tokens."""
        shape = (self._rows, key_states.shape[1], self._length, key_states.shape[3])
        self.keys, self.values, self.is_initialized = key_states.new_empty(shape), value_states.new_empty(shape), True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Writes behind what is there; a prompt is written into each row of its group."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, new = key_states.shape[0], key_states.shape[2]
        if self._seen == 0 and rows < self._rows:
            self.keys[:, :, :new] = key_states.repeat_interleave(self._rows // rows, 0)
            self.values[:, :, :new] = value_states.repeat_interleave(self._rows // rows, 0)
            self._seen = new
            return key_states, value_states
        end = self._seen + new
        self.keys[:rows, :, self._seen : end], self.values[:rows, :, self._seen : end] = key_states, value_states
        self._seen = end
        return self.keys[:rows, :, :end], self.values[:rows, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """All that was written and what comes now."""
        return self._seen + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens that were written."""
        return self._seen

    def get_max_length(self) -> int:
        """Of a row."""
        return self._length


class Bare:
    """The model with adapters, and the calls that nobody can leave out."""

    def __init__(self, case: SpeedCase) -> None:
        cfg = case.composed()
        vlm = load_model(
            case.model, untrained=cfg.model.untrained, dtype=cfg.model.dtype, attention=cfg.model.attention, root_seed=cfg.seed
        )
        vlm.requires_grad_(False)
        self._model = get_peft_model(vlm, lora_of(cfg)).get_base_model()
        self._trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._trained, lr=float(cfg.model.optimization.learning_rate))
        self._max_norm, self._case = float(cfg.model.optimization.max_grad_norm), case
        self._ids = self._model.config.get_text_config().vocab_size - 16  # the last ids stand for pictures
        self._num_layers = self._model.config.get_text_config().num_hidden_layers

    def _hidden(self, rows: int, width: int, *, begun: int = 0, cache: Cache | None = None) -> Tensor:
        ids = torch.randint(self._ids, (rows, width))
        positions = torch.arange(begun, begun + width).expand(3, rows, -1)
        output = self._model.model(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=cache is not None)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def update(self, tokens: Tokens, *, micro_batch: int) -> None:
        """All optimizer steps of a generation step."""
        updates = self._case.updates
        written = sum(tokens.responses) / updates
        read = math.ceil(tokens.num_prompts / updates) * tokens.prompt + written
        rows = math.ceil(read / (tokens.prompt + mean(tokens.responses)))
        width = round(read / rows)
        parts = min(rows, math.ceil(rows * width / micro_batch))
        for _ in range(updates):
            for part in range(parts):
                hidden = self._hidden((part + 1) * rows // parts - part * rows // parts, width)
                of_responses = hidden.flatten(0, 1)[: round(written / parts)]
                logits = self._model.get_output_embeddings()(of_responses)
                nn.functional.cross_entropy(logits, torch.randint(self._ids, (len(logits),))).backward()
            nn.utils.clip_grad_norm_(self._trained, self._max_norm)
            self._optimizer.step()
            self._optimizer.zero_grad()

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> None:
        """All responses of a generation step."""
        lengths = sorted(tokens.responses, reverse=True)
        room = {"rows": len(lengths), "length": tokens.prompt + lengths[0]}
        cache = Cache(layers=[Ready(**room) for _ in range(self._num_layers)])
        hidden = self._hidden(tokens.num_prompts, tokens.prompt, cache=cache)
        self._draw(hidden[:, -1])
        for t in range(1, lengths[0]):
            alive = sum(length > t for length in lengths)
            self._draw(self._hidden(alive, 1, begun=tokens.prompt + t - 1, cache=cache)[:, -1])

    def _draw(self, hidden: Tensor) -> Tensor:
        return torch.multinomial(self._model.get_output_embeddings()(hidden).softmax(-1), 1)


def seconds_of(call: Callable[[], Any]) -> float:
    """The fastest of some calls, which other programs disturbed least; one before them warms up."""
    call()
    found = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return min(found)


def flop_of(call: Callable[[], Any]) -> int:
    """FLOP of the products in a call; attention is counted as the products that it is made of."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def matmul_rate() -> float:
    """FLOP a second of the best square product."""
    factors = [torch.randn(size, size) for size in PRODUCTS]
    return max(2 * len(factor) ** 3 / seconds_of(lambda factor=factor: factor @ factor) for factor in factors)


def measured(case: SpeedCase, tokens: Tokens) -> dict[str, Any]:
    """Seconds, FLOP and the rate, for the file."""
    bare = Bare(case)
    sizes = [size for size in MICRO_BATCHES if case.updates == 1 or size == max(MICRO_BATCHES)]  # a small update is one forward
    tried = {size: seconds_of(lambda size=size: bare.update(tokens, micro_batch=size)) for size in sizes}
    fastest = min(tried, key=tried.__getitem__)
    return {
        "update_seconds": tried[fastest],
        "update_by_micro_batch": tried,
        "decode_seconds": seconds_of(lambda: bare.decode(tokens)),
        "update_flop": flop_of(lambda: bare.update(tokens, micro_batch=fastest)),
        "decode_flop": flop_of(lambda: bare.decode(tokens)),
        "flop_per_second": matmul_rate(),
    }


def main() -> None:
    """The command."""
    case = read_case(sys.argv[1])
    torch.set_num_threads(case.threads)
    tokens = Tokens.of(json.loads(Path(sys.argv[3]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(measured(case, tokens), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
