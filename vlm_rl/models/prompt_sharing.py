"""Whether a policy's responses share their prompts: where it was asked for, and the model gives the same answer as without."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_rl import ranks
from vlm_rl.models.shared_prompts import reason_against, shared, window_of
from vlm_rl.types import Samples, select

LIMIT = {
    torch.float32: 1e-4,
    torch.bfloat16: 0.1,
    torch.float16: 0.1,
}  # of a state, against the largest: what rounding explains


Reader: TypeAlias = Any  # a Policy; its module imports this one


def hidden_of(policy: Reader, samples: Samples) -> Float[Tensor, "batch sequence hidden"]:
    """Last hidden states of prompts with their responses, without a cache."""
    hidden: Tensor = policy.hidden(
        ids=samples.input_ids,
        mask=samples.attention_mask,
        types=samples.mm_token_type_ids,
        positions=samples.position_ids,
        images=samples.images,
        use_cache=False,
    )
    return hidden


def own_states(policy: Reader, samples: Samples) -> Float[Tensor, "token hidden"]:
    """The state before each response token, which decides on it, row by row; each response has a copy of its prompt before it."""
    hidden, mask = hidden_of(policy, samples), samples.response_mask
    states: Tensor = hidden[:, hidden.shape[1] - mask.shape[1] - 1 : -1][mask]
    return states


def shared_states(policy: Reader, samples: Samples) -> Float[Tensor, "token hidden"]:
    """The same; each prompt is read once."""
    row = shared(samples)
    hidden = policy.hidden(
        ids=row.ids, mask=row.mask, types=row.types, positions=row.positions, images=row.images, use_cache=False
    )
    states: Tensor = hidden[0, row.before]
    return states


@dataclass(frozen=True, order=True)
class Kind:
    """Prompts that a model may treat alike."""

    image_size: int  # binary digits of the number of image tokens: large ones may show what small ones do not
    is_longer: bool  # than a sliding window, with its response


class PromptSharing:
    """Decides for each batch. Two responses to one prompt of each kind, the first that come, go through the model both ways,
    unless it is taken for granted that the answers agree, as where there are no numbers."""

    def __init__(self, *, is_wanted: bool) -> None:
        self.is_wanted, self.is_taken_for_granted = is_wanted, False
        self._is_same: dict[Kind, bool] = {}
        self._is_told = False

    def is_possible(self, policy: Reader) -> bool:
        """As far as config and the model's code tell."""
        return self.is_wanted and reason_against(policy.vlm) is None

    def is_on(self, policy: Reader, samples: Samples) -> bool:
        """Where it is not although it was asked for, a line says why, once."""
        if not self.is_wanted or samples.group_size == 1 or not (pairs := _pairs(policy, samples)):
            return False
        reason = reason_against(policy.vlm)
        agree = [reason is None and self._is_agreed(policy, kind, samples, pair) for kind, pair in pairs.items()]
        if reason is None and not all(agree):
            reason = "the model then computes something else"
        if reason is not None and not self._is_told:
            self._is_told = True
            print(f"Each response reads its own copy of the prompt (model.shared_prompt): {reason}.", flush=True)
        return reason is None

    @torch.no_grad()
    def try_together(self, policy: Reader, samples: Samples) -> None:
        """The trials of all ranks at once, where the model is shared out over them; a rank without such a pair makes empty forwards."""
        is_tried = self.is_possible(policy) and samples.group_size > 1 and not self.is_taken_for_granted
        pairs = _pairs(policy, samples) if is_tried else {}
        for kind in sorted(set().union(*ranks.gathered({*pairs})) - self._is_same.keys()):
            two = select(samples, torch.tensor(pairs[kind], device=samples.indices.device)) if kind in pairs else None
            found = [states(policy, two) for states in policy.in_step([own_states, shared_states] if two else [])]
            self._is_same[kind] = not ranks.any_of(bool(found) and not self._agrees(policy, *found))

    @torch.no_grad()
    def _is_agreed(self, policy: Reader, kind: Kind, samples: Samples, pair: list[int]) -> bool:
        if kind not in self._is_same and not self.is_taken_for_granted:
            if policy.layout.is_shared_out:
                return False  # other ranks do not read a pair of this kind now
            two = select(samples, torch.tensor(pair, device=samples.indices.device))
            self._is_same[kind] = self._agrees(policy, own_states(policy, two), shared_states(policy, two))
        return self._is_same.get(kind, True)

    @staticmethod
    def _agrees(policy: Reader, own: Tensor, together: Tensor) -> bool:
        limit = LIMIT[policy.precision.autocast_to or policy.vlm.dtype] * own.abs().max()
        return bool((own - together).abs().max() <= limit)


def _pairs(policy: Reader, samples: Samples) -> dict[Kind, list[int]]:
    """Of each kind the rows of two responses to one prompt, if there are two."""
    window = window_of(policy.vlm.config)
    is_longer = [False] * len(samples) if window is None else (samples.lengths.sum(1) > window).tolist()
    image_tokens: list[int] = samples.mm_token_type_ids.gt(0).sum(1).tolist()
    first: dict[int, int] = {}
    pairs: dict[Kind, list[int]] = {}
    for row, group in enumerate(samples.groups.tolist()):
        other = first.setdefault(group, row)
        if other != row:
            kind = Kind(image_tokens[row].bit_length(), is_longer[row] or is_longer[other])
            pairs.setdefault(kind, [other, row])
    return pairs
