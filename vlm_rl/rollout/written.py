"""What an engine wrote, as ids, becomes a response batch."""

import torch
from torch import Tensor

from vlm_rl.models.policy import Policy
from vlm_rl.types import Response, ResponseBatch


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
