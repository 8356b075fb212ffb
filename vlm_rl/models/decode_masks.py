"""What the one new token of each row attends to at a decode step: a mask that carries this to `attend` of shared_prompts.py."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

Attended: TypeAlias = tuple[Float[Tensor, "batch row head value_dimension"], None]


def added(seen: Bool[Tensor, "row column"], dtype: torch.dtype) -> Float[Tensor, "row 1 1 column"]:
    """The mask as numbers that are added to the scores."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, -torch.inf)[:, None, None]


def carrying(sharing: object, rows: int, device: torch.device) -> Bool[Tensor, "row 1 1 1"]:
    """A mask that hides nothing. A model that does not hand it on to `attend` computes something else."""
    mask = torch.ones(rows, 1, 1, 1, dtype=torch.bool, device=device)
    mask.sharing = sharing  # type: ignore[attr-defined]
    return mask


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Columns of a cache that holds everything: for all layers at once, and the host never waits."""

    seen: Bool[Tensor, "row column"]
    _added: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @property
    def mask(self) -> Bool[Tensor, "row 1 1 1"]:
        """What the model is given."""
        return carrying(self, len(self.seen), self.seen.device)

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, **settings: Any) -> Attended:
        """Layers with a sliding window keep the last columns alone."""
        if query.dtype not in self._added:
            self._added[query.dtype] = added(self.seen, query.dtype)
        mask = self._added[query.dtype][..., -key.shape[2] :]
        result: Attended = sdpa_attention_forward(module, query, key, value, mask, **settings)
        return result


@dataclass(frozen=True, kw_only=True)
class Members:
    """Which rows have which prompt, so that the queries of a prompt's rows can lie side by side."""

    order: Int[Tensor, " place"]  # rows, prompt by prompt; the first row fills up
    back: Int[Tensor, " row"]  # where each row is in `order`
    prompts: int

    def together(self, states: Float[Tensor, "row head query last"]) -> Float[Tensor, "prompt head together last"]:
        """Row by row to prompt by prompt."""
        _, heads, queries, last = states.shape
        most = len(self.order) // self.prompts
        taken = states.index_select(0, self.order).view(self.prompts, most, heads, queries, last)
        return taken.transpose(1, 2).reshape(self.prompts, heads, most * queries, last)

    def apart(self, states: Float[Tensor, "prompt head together last"]) -> Float[Tensor, "row head query last"]:
        """Prompt by prompt to row by row."""
        prompts, heads, together, last = states.shape
        most = len(self.order) // prompts
        split = states.view(prompts, heads, most, together // most, last).transpose(1, 2)
        return split.reshape(prompts * most, heads, -1, last).index_select(0, self.back)


@dataclass(frozen=True, kw_only=True)
class SharedColumns:
    """Columns of prompts, which several rows share, and columns of each row's own: the keys and values of a prompt are read once.

    Softmax goes over both. Scores are kept in the precision of the queries, so this is for float32.
    """

    members: Members
    # by the number of the layer
    prompts: dict[
        int, tuple[Float[Tensor, "prompt key_head column dimension"], Float[Tensor, "prompt key_head column dimension"]]
    ]
    in_prompt: Float[Tensor, "prompt 1 1 column"]
    own: Float[Tensor, "row 1 1 own_column"]

    @property
    def mask(self) -> Bool[Tensor, "row 1 1 1"]:
        """What the model is given."""
        return carrying(self, len(self.own), self.own.device)

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, **settings: Any) -> Attended:
        """`key` and `value` are the rows' own."""
        keys, values = self.prompts[int(module.layer_idx)]  # type: ignore[arg-type]
        rows, heads, _, dimension = query.shape
        scale = settings.get("scaling") or dimension**-0.5
        queries = (query * scale).view(rows, key.shape[1], -1, dimension)  # those that share a head of the keys lie together
        in_prompt = self.members.apart(self.members.together(queries) @ keys.transpose(-1, -2) + self.in_prompt)
        weights = torch.cat([in_prompt, queries @ key.transpose(-1, -2) + self.own], dim=-1).softmax(-1)
        of_prompt, of_own = torch.split(weights, [keys.shape[2], key.shape[2]], dim=-1)
        attended = self.members.apart(self.members.together(of_prompt) @ values) + of_own @ value
        return attended.reshape(rows, 1, heads, -1), None
