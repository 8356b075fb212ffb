"""Each prompt once: all responses to a query go through the model behind one copy of their prompt.

A sequence is a prompt and then its responses, one after the other. Every response has the positions that follow the prompt, and each of
its tokens attends to the prompt and to the tokens of its own response before it. So hidden states, log-probabilities and gradients are
those of separate sequences, but for rounding.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from vlm_rl.types import Images, Samples

MASKED = ("sdpa", "eager")  # implementations of attention that take any mask


@dataclass(frozen=True, kw_only=True)
class SharedPrompts:
    """Sequences of prompts with all of their responses."""

    ids: Int[Tensor, "prompt sequence"]
    mask: Bool[Tensor, "prompt 1 sequence sequence"]  # True = a token attends to it
    types: Int[Tensor, "prompt sequence"]
    positions: Int[Tensor, "axis prompt sequence"]
    images: Images
    before: Int[Tensor, " token"]  # for each response token, row by row, the place in all sequences of the state that decides on it


def shared(samples: Samples, *, pad_id: int) -> SharedPrompts:
    """The sequences of these samples; `samples.groups` says which of them have one prompt."""
    assert samples.groups is not None
    layout = _Layout(samples.groups.tolist(), samples.lengths.tolist())
    width = samples.input_ids.shape[1]
    source, segment, before = (
        torch.from_numpy(numbers).to(samples.input_ids.device)
        for numbers in layout.places(width=width, num_query=width - samples.response_mask.shape[1])
    )
    is_token, known = segment >= 0, source.clamp(min=0)
    return SharedPrompts(
        ids=torch.where(is_token, samples.input_ids.flatten()[known], pad_id),
        mask=_attention(segment)[:, None],
        types=torch.where(is_token, samples.mm_token_type_ids.flatten()[known], 0),
        positions=samples.position_ids.flatten(1)[:, known],
        images=tuple(samples.images[row] for row in layout.first),
        before=before,
    )


class _Layout:
    """Which sequence each sample is in, and where its response begins there."""

    def __init__(self, groups: list[int], lengths: list[list[int]]) -> None:
        self._lengths = lengths
        sequences = {group: i for i, group in enumerate(dict.fromkeys(groups))}
        self._sequence = [sequences[group] for group in groups]
        self.first = [groups.index(group) for group in sequences]  # the sample that lends its prompt
        self._ends = [0] * len(sequences)  # response tokens of each sequence
        self._starts = []
        for i, (_, response) in zip(self._sequence, lengths, strict=True):
            self._starts.append(self._ends[i])
            self._ends[i] += response

    def places(self, *, width: int, num_query: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each token of each sequence: its place in the samples' tokens (samples of this `width`, with `num_query` columns of query),
        -1 for padding; and its segment, 0 for the prompt, 1, 2, ... for its responses, -1 for padding. And `before`."""
        longest = max(query for query, _ in self._lengths)
        shape = len(self.first), longest + max(self._ends)
        source, segment, before = np.full(shape, -1), np.full(shape, -1), []
        for i, row in enumerate(self.first):
            query = self._lengths[row][0]
            source[i, longest - query : longest] = row * width + np.arange(num_query - query, num_query)
            segment[i, longest - query : longest] = 0
        for row, (i, start, (_, response)) in enumerate(zip(self._sequence, self._starts, self._lengths, strict=True)):
            columns = longest + start + np.arange(response)
            source[i, columns] = row * width + num_query + np.arange(response)
            segment[i, columns] = row + 1
            before.append(i * shape[1] + np.concatenate([[longest], columns[1:]]) - 1 if response else columns)
        return source, segment, np.concatenate(before).astype(np.int64)


def _attention(segment: Int[Tensor, "prompt sequence"]) -> Bool[Tensor, "prompt sequence sequence"]:
    """The prompt, and of the same response what is not later. Padding attends to itself, or its states would be no numbers."""
    query, key = segment[:, :, None], segment[:, None, :]
    size = segment.shape[1]
    earlier = torch.ones(size, size, dtype=torch.bool, device=segment.device).tril()
    itself = torch.eye(size, dtype=torch.bool, device=segment.device)
    return ((key == 0) | ((key == query) & (key > 0))) & earlier | itself


def reason_against(config: PreTrainedConfig, *, longest: int) -> str | None:
    """Why prompts of this model cannot be shared, as far as its config tells; None where they can. `longest`: tokens of the longest
    prompt with one response."""
    text: Any = config.get_text_config()
    if (implementation := text._attn_implementation) not in MASKED:
        return f"model.attention={implementation} takes no mask of ours; sdpa and eager do"
    kinds = Counter(getattr(text, "layer_types", None) or ["full_attention"])
    window = getattr(text, "sliding_window", None)
    if kinds["sliding_attention"] and window and longest > window:
        return f"some layers see {window} tokens back, and prompt and response have {longest}"
    if others := [kind for kind in kinds if kind not in ("full_attention", "sliding_attention")]:
        return f"its layers of {others[0]} read a sequence token by token"
    return None


def repeated(groups: Int[Tensor, " batch"] | None) -> Int[Tensor, " pair"] | None:
    """Two samples of one prompt; None where no two have one."""
    rows: dict[int, int] = {}
    for row, group in enumerate([] if groups is None else groups.tolist()):
        if group in rows:
            return torch.tensor([rows[group], row], device=groups.device)  # type: ignore[union-attr]
        rows[group] = row
    return None
