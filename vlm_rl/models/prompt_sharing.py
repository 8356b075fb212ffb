"""Whether a policy's responses share their prompts: where it was asked for, and the model gives the same answer as without."""

from typing import TYPE_CHECKING

import torch

from vlm_rl.models.shared_prompts import reason_against, repeated
from vlm_rl.types import Samples, select

if TYPE_CHECKING:
    from vlm_rl.models.policy import Policy

LIMIT = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.1}  # nats of any token: what rounding explains


class PromptSharing:
    """Decides for each batch. The first pair of responses to one prompt, with images and without, goes through the model both ways."""

    def __init__(self, *, is_wanted: bool) -> None:
        self._is_wanted = is_wanted
        self._is_same: dict[bool, bool] = {}  # with images or without: whether both ways agreed
        self._told: set[str] = set()

    def is_on(self, policy: "Policy", samples: Samples) -> bool:
        """Where it is not although it was asked for, a line says why, once."""
        if not self._is_wanted or (pair := repeated(samples.groups)) is None:
            return False
        reason = reason_against(policy.vlm.config, longest=int(samples.lengths.sum(1).max()))
        if reason is None and not self._agrees(policy, select(samples, pair)):
            reason = "the model then computes something else, so it has a mask of its own"
        if reason is not None and reason not in self._told:
            self._told.add(reason)
            print(f"Each response reads its own copy of the prompt (model.shared_prompt): {reason}.", flush=True)
        return reason is None

    @torch.no_grad()
    def _agrees(self, policy: "Policy", pair: Samples) -> bool:
        kind = any(images is not None for images in pair.images)
        if kind not in self._is_same:
            limit = LIMIT[policy.precision.autocast_to or policy.vlm.dtype]
            own, together = (
                policy.statistics_after(states, pair).logprobs for states in (policy.own_states(pair), policy.shared_states(pair))
            )
            self._is_same[kind] = bool((own - together).abs().max() <= limit)
        return self._is_same[kind]
