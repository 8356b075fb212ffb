"""Each prompt once: all responses to a query go through the model behind one copy of their prompt, and nothing is padded.

One row holds the tokens of all prompts and then of all responses. Every response has the positions that follow its prompt, and each of
its tokens attends to the prompt and to the tokens of its own response before it. So hidden states, log-probabilities and gradients are
those of separate sequences, but for rounding.
"""

import functools
import inspect
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from vlm_rl.models.decode_masks import Attended, carrying
from vlm_rl.types import Images, Samples

OWN_MASKS = ("or_mask_function", "block_sequence_ids")  # words of Transformers where a model adds to the causal mask


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which tokens of the row attend to which. Places are those in the row."""

    prompts: Int[Tensor, "prompt query"]  # places of the prompts' tokens, padded on the left with place 0
    responses: Int[Tensor, "response token"]  # the same of the responses, padded on the right
    prompt_of: Int[Tensor, " response"]
    prompt_mask: Bool[Tensor, "prompt 1 query query"]
    response_mask: Bool[Tensor, "response 1 token query+token"]
    back: Int[Tensor, " row"]  # of each token of the row, where it is in the prompts and responses, padding included
    added: dict[tuple[int | None, torch.dtype], tuple[Tensor, Tensor]] = field(
        default_factory=dict
    )  # masks, once for all layers

    def masks(self, *, window: int | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The two masks as numbers that are added to the scores, for layers that see so many tokens back."""
        if (window, dtype) not in self.added:
            seen = [_windowed(mask, window) for mask in (self.prompt_mask, self.response_mask)]
            prompt, response = (torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -torch.inf) for mask in seen)
            self.added[window, dtype] = prompt, response
        return self.added[window, dtype]

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, **settings: Any) -> Attended:
        """Prompts attend to themselves, responses to prompt and response."""
        settings["is_causal"] = False  # the masks say it
        of_prompts = [_taken(states, self.prompts) for states in (query, key, value)]
        of_responses = [_taken(states, self.responses) for states in (query, key, value)]
        pairs = zip(of_prompts[1:], of_responses[1:], strict=True)
        seen = [torch.cat([prompt[self.prompt_of], own], dim=2) for prompt, own in pairs]
        masks = self.masks(window=settings.get("sliding_window"), dtype=query.dtype)
        prompts, _ = sdpa_attention_forward(module, *of_prompts, masks[0], **settings)
        responses, _ = sdpa_attention_forward(module, of_responses[0], *seen, masks[1], **settings)
        return torch.cat([prompts.flatten(0, 1), responses.flatten(0, 1)]).index_select(0, self.back)[None], None


@dataclass(frozen=True, kw_only=True)
class SharedPrompts:
    """The row."""

    ids: Int[Tensor, "1 row"]
    types: Int[Tensor, "1 row"]
    positions: Int[Tensor, "axis 1 row"]
    images: Images  # of each prompt
    before: Int[Tensor, " token"]  # for each response token, response by response, the place of the state that decides on it
    layout: Layout

    @property
    def mask(self) -> Bool[Tensor, "1 1 1 1"]:
        """What the model is given: it carries the layout."""
        return carrying(self.layout, 1, self.ids.device)


def shared(samples: Samples) -> SharedPrompts:
    """The row of these samples; `samples.groups` says which of them have one prompt."""
    groups, lengths = samples.groups.tolist(), samples.lengths.tolist()
    first = [groups.index(group) for group in dict.fromkeys(groups)]  # the sample that lends its prompt
    number = {groups[row]: i for i, row in enumerate(first)}
    width, device = samples.input_ids.shape[1], samples.input_ids.device
    num_query = width - samples.response_mask.shape[1]
    queries = np.array([lengths[row][0] for row in first])
    responses = np.array([response for _, response in lengths])
    source = [row * width + np.arange(num_query - query, num_query) for row, query in zip(first, queries, strict=True)]
    source += [row * width + num_query + np.arange(response) for row, response in enumerate(responses)]
    known = torch.from_numpy(np.concatenate(source)).to(device)
    layout, before = _layout(queries, responses, np.array([number[group] for group in groups]), device=device)
    return SharedPrompts(
        ids=samples.input_ids.flatten()[known][None],
        types=samples.mm_token_type_ids.flatten()[known][None],
        positions=samples.position_ids.flatten(1)[:, None, known],
        images=tuple(samples.images[row] for row in first),
        before=before,
        layout=layout,
    )


def _layout(
    queries: np.ndarray, responses: np.ndarray, prompt_of: np.ndarray, *, device: torch.device
) -> tuple[Layout, Tensor]:
    """From the lengths of prompts and responses, and the prompt of each response."""
    query, response = int(queries.max()), int(responses.max())
    ends = np.concatenate([queries, responses]).cumsum()
    starts = ends - np.concatenate([queries, responses])
    starts_of_prompts, starts_of_responses = starts[: len(queries)], starts[len(queries) :]
    columns, steps = np.arange(query) - (query - queries)[:, None], np.arange(response)
    in_prompt, in_response = columns >= 0, steps < responses[:, None]
    prompts = np.where(in_prompt, starts_of_prompts[:, None] + columns, 0)
    tokens = np.where(in_response, starts_of_responses[:, None] + steps, 0)
    before = np.where(steps == 0, ends[: len(queries)][prompt_of][:, None] - 1, tokens - 1)[in_response]
    back = np.concatenate([in_prompt.reshape(-1).nonzero()[0], in_prompt.size + in_response.reshape(-1).nonzero()[0]])
    seen = in_prompt[:, None] & np.tri(query, dtype=bool) | np.eye(query, dtype=bool)  # padding sees itself, or is no number
    seen_by_response = np.concatenate(
        [np.broadcast_to(in_prompt[prompt_of][:, None], (len(responses), response, query)), _causal(len(responses), response)],
        axis=2,
    )
    on = {"prompts": prompts, "responses": tokens, "prompt_of": prompt_of, "back": back}
    masks = {"prompt_mask": seen[:, None], "response_mask": seen_by_response[:, None]}
    made: dict[str, Any] = {name: torch.from_numpy(value).to(device) for name, value in (on | masks).items()}
    return Layout(**made), torch.from_numpy(before).to(device)


def _causal(count: int, size: int) -> np.ndarray:
    return np.broadcast_to(np.tri(size, dtype=bool), (count, size, size))


def attend(
    module: nn.Module,
    query: Float[Tensor, "batch head row dimension"],
    key: Float[Tensor, "batch key_head key dimension"],
    value: Float[Tensor, "batch key_head key value_dimension"],
    attention_mask: Tensor | None,
    **settings: Any,
) -> Attended:
    """Transformers' `sdpa`, or what the mask carries: a row of shared prompts, or columns of the sampler's cache."""
    sharing = getattr(attention_mask, "sharing", None)
    if sharing is None:
        result: Attended = sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
        return result
    made: Attended = sharing.attend(module, query, key, value, **settings)
    return made


def _windowed(mask: Bool[Tensor, "sequence 1 query key"], window: int | None) -> Bool[Tensor, "sequence 1 query key"]:
    """The last query sees the last key; each sees at most so many keys, itself the last of them."""
    queries, keys = mask.shape[2:]
    if window is None or keys <= window:
        return mask
    ones = torch.ones(queries, keys, dtype=torch.bool, device=mask.device)
    return mask & ones.triu(keys - queries - window + 1)


def _taken(states: Float[Tensor, "1 head row dimension"], places: Int[Tensor, "sequence token"]) -> Tensor:
    """As a padded batch: (sequence, head, token, dimension)."""
    _, heads, _, dimensions = states.shape
    return states.index_select(2, places.flatten()).view(heads, *places.shape, dimensions).transpose(0, 1)


AttentionInterface.register("sdpa", attend)


def reason_against(vlm: PreTrainedModel) -> str | None:
    """Why prompts of this model cannot be shared, as far as config and code tell; None where they can."""
    text: Any = vlm.config.get_text_config()
    if text._attn_implementation != "sdpa":
        return f"model.attention={text._attn_implementation} cannot be told which tokens share a prompt; sdpa can"
    if others := sorted({*(getattr(text, "layer_types", None) or ())} - {"full_attention", "sliding_attention"}):
        return f"its layers of {others[0]} read a sequence token by token"
    if any(_has_own_masks(type(part).__module__) for part in (vlm.model, vlm.model.get_decoder())):
        return "the model makes a mask of its own, as where the tokens of a picture see each other"
    return None


@functools.cache
def _has_own_masks(module: str) -> bool:
    source = inspect.getsource(sys.modules[module])
    return any(word in source for word in OWN_MASKS)


def window_of(config: PreTrainedConfig) -> int | None:
    """How many tokens back the layers with a sliding window see; None where there are none."""
    window: int | None = getattr(config.get_text_config(), "sliding_window", None)
    return window
