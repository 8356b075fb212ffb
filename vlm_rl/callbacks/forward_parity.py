"""Check before the first step that the trained forward equals Transformers' own: in an untested family an error would go unnoticed."""

import itertools
from collections.abc import Sequence
from typing import Any

import lightning
import torch

from vlm_rl.datasets.row import Row
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.models.policy import Policy
from vlm_rl.models.vision import in_dtype_of

NUM_SEARCHED = 1000


class ForwardMismatch(RuntimeError):
    """The trained forward differs from the model's own forward in Transformers."""


class ForwardParity(lightning.Callback):
    """The check at the start of training, on the device that trains."""

    def __init__(self, *, policy: Policy, encoder: PromptEncoder, rows: Sequence[Row], tolerance: float) -> None:
        self._policy, self._encoder, self._rows, self._tolerance = policy, encoder, rows, tolerance

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        for row in examples(self._rows):
            check_forward_parity(self._policy, self._encoder, row, tolerance=self._tolerance)


def examples(rows: Sequence[Row]) -> list[Row]:
    """The first row with no image, with one and with several, of the first NUM_SEARCHED: families differ in all three."""
    found: dict[int, Row] = {}
    for row in itertools.islice(rows, NUM_SEARCHED):
        found.setdefault(min(2, len(row.images)), row)
    return list(found.values())


def check_forward_parity(policy: Policy, encoder: PromptEncoder, row: Row, *, tolerance: float) -> None:
    """Raises ForwardMismatch past the tolerance, in nats."""
    difference = forward_difference(policy, encoder, row)
    if not difference <= tolerance:  # NaN is a mismatch too
        raise ForwardMismatch(
            f"After the prompt of row {row.id!r} the next token's log-probabilities differ by {difference:.3g} nats (mean under the "
            f"model) from {type(policy.vlm).__name__}'s own forward, more than parity.tolerance={tolerance}. This family needs "
            "something that vlm_rl/models/family.py does not hand in: positions, token types, or a scale of its logits."
        )


@torch.no_grad()
def forward_difference(policy: Policy, encoder: PromptEncoder, row: Row) -> float:
    """Mean absolute difference of log-probabilities, in nats, over the next token as the model's own forward has it."""
    training = policy.vlm.training
    policy.vlm.eval()
    queries = encoder.batch([row], indices=[0], step=0).to(policy.device)
    hidden = policy.hidden(
        ids=queries.query_ids,
        mask=queries.attention_mask,
        types=queries.mm_token_type_ids,
        positions=queries.position_ids,
        images=queries.images,
        use_cache=False,
    )
    ours = policy.next_token_logprobs(hidden[:, -1], temperature=1.0)
    output: dict[str, Any] = encoder.prompts.process(row).to(policy.device)
    with policy.autocast():
        logits = policy.vlm(**in_dtype_of(policy.vlm, output)).logits[:, -1].float()
    theirs = logits.masked_fill(policy.banned, -torch.inf).log_softmax(-1)
    policy.vlm.train(training)
    return float((theirs.exp() * (ours - theirs).masked_fill(policy.banned, 0).abs()).sum())
