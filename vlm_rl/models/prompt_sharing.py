"""Whether a policy's responses share their prompts: where it was asked for, and the model gives the same answer as without."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from vlm_rl.models.logprobs import TokenStatistics
from vlm_rl.models.precision import Precision
from vlm_rl.models.shared_prompts import reason_against, shared, window_of
from vlm_rl.types import Images, Samples, select

LIMIT = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.1}  # nats of any token: what rounding explains


@runtime_checkable
class Reader(Protocol):
    """What is asked of a policy."""

    vlm: PreTrainedModel
    precision: Precision

    def hidden(
        self, *, ids: Tensor, mask: Tensor, types: Tensor, positions: Tensor, images: Images, **cache: object
    ) -> Float[Tensor, "batch sequence hidden"]:
        """Last hidden states."""

    def hidden_of(self, samples: Samples) -> Float[Tensor, "batch sequence hidden"]:
        """The same of prompts with their responses."""

    def statistics_after(self, states: Float[Tensor, "token hidden"], samples: Samples) -> TokenStatistics:
        """Of each response token, given the state before it."""


def own_states(policy: Reader, samples: Samples) -> Float[Tensor, "token hidden"]:
    """The state before each response token, which decides on it, row by row; each response has a copy of its prompt before it."""
    hidden, mask = policy.hidden_of(samples), samples.response_mask
    return hidden[:, hidden.shape[1] - mask.shape[1] - 1 : -1][mask]


def shared_states(policy: Reader, samples: Samples) -> Float[Tensor, "token hidden"]:
    """The same; each prompt is read once."""
    row = shared(samples)
    hidden = policy.hidden(
        ids=row.ids, mask=row.mask, types=row.types, positions=row.positions, images=row.images, use_cache=False
    )
    return hidden[0, row.before]


@dataclass(frozen=True)
class Kind:
    """Responses that a model may treat alike."""

    has_images: bool
    is_longer: bool  # than a sliding window, prompt and response together


class PromptSharing:
    """Decides for each batch. Two responses to one prompt of each kind, the first that come, go through the model both ways."""

    def __init__(self, *, is_wanted: bool) -> None:
        self._is_wanted = is_wanted
        self._is_same: dict[Kind, bool] = {}
        self._is_told = False

    def is_on(self, policy: Reader, samples: Samples) -> bool:
        """Where it is not although it was asked for, a line says why, once."""
        if not self._is_wanted or samples.group_size == 1 or not (pairs := _pairs(policy, samples)):
            return False
        reason = reason_against(policy.vlm.config)
        agree = [reason is None and self._agrees(policy, kind, samples, pair) for kind, pair in pairs.items()]
        if reason is None and not all(agree):
            reason = "the model then computes something else, so it has a mask of its own"
        if reason is not None and not self._is_told:
            self._is_told = True
            print(f"Each response reads its own copy of the prompt (model.shared_prompt): {reason}.", flush=True)
        return reason is None

    @torch.no_grad()
    def _agrees(self, policy: Reader, kind: Kind, samples: Samples, pair: list[int]) -> bool:
        if kind not in self._is_same:
            limit = LIMIT[policy.precision.autocast_to or policy.vlm.dtype]
            two = select(samples, torch.tensor(pair, device=samples.indices.device))
            own, together = (
                policy.statistics_after(states, two).logprobs
                for states in (own_states(policy, two), shared_states(policy, two))
            )
            self._is_same[kind] = bool((own - together).abs().max() <= limit)
        return self._is_same[kind]


def _pairs(policy: Reader, samples: Samples) -> dict[Kind, list[int]]:
    """Of each kind the rows of two responses to one prompt, if there are two."""
    window = window_of(policy.vlm.config)
    is_longer = [False] * len(samples) if window is None else (samples.lengths.sum(1) > window).tolist()
    first: dict[int, int] = {}
    pairs: dict[Kind, list[int]] = {}
    for row, group in enumerate(samples.groups.tolist()):
        other = first.setdefault(group, row)
        if other != row:
            kind = Kind(samples.images[row] is not None, is_longer[row] or is_longer[other])
            pairs.setdefault(kind, [other, row])
    return pairs
