"""An adapter put into the weights of a fresh copy of its base model, and how far the result is from the adapter beside it.

Merging computes in float32 and rounds once, to the dtype that is saved. Compared are the adapter beside its base, the merged weights
before and after rounding, and what lies on the disk afterwards, read anew: a part that a merge or a file forgot would show.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

from vlm_rl.models.loading import load_pretrained
from vlm_rl.models.trained_weights import with_adapter

PROBE_TOKENS = 32  # written by the model with the adapter, after a prompt with a picture
# Nats, mean over those tokens: what rounding every weight once may do. Measured on the tiny model: 6e-7, 3e-4 and 2e-3.
TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}


@dataclass(frozen=True, kw_only=True)
class MergeDifference:
    """Log-probabilities with merged weights against those with the adapter, in nats."""

    dtype: str
    mean: float  # of the absolute differences
    largest: float
    num_tokens: int


def merge(
    base: Callable[[], PreTrainedModel], *, adapter: Path, processor: ProcessorMixin, prompt: str, folder: Path, dtype: str
) -> MergeDifference:
    """Saves the merged model, an error if it is another one. `base` loads the base in float32; `prompt` is asked beside a picture."""
    if dtype not in TOLERANCE:
        raise ValueError(f"dtype={dtype}: merged weights are saved as {', '.join(TOLERANCE)}.")
    told = _merged(base(), adapter=adapter, processor=processor, prompt=prompt, folder=folder, dtype=dtype)
    saved = load_pretrained(str(folder), dtype="float32", attention="sdpa").eval().to(told.merged.device)
    found = _logprobs(saved, told.probe)
    _check(told.merged - told.adapter, what="merging", dtype="float32")
    _check(found - told.rounded, what="saving", dtype="float32")
    _check(found - told.adapter, what=f"rounding to {dtype}", dtype=dtype)
    difference = (found - told.adapter).abs()
    return MergeDifference(
        dtype=dtype, mean=float(difference.mean()), largest=float(difference.max()), num_tokens=difference.numel()
    )


@dataclass(frozen=True, kw_only=True)
class _Told:
    """Log-probabilities of the tokens of one answer, on the way from the adapter to the file."""

    probe: dict[str, Tensor]
    adapter: Tensor
    merged: Tensor  # in float32
    rounded: Tensor  # to the dtype that is saved


def _merged(base: PreTrainedModel, *, adapter: Path, processor: ProcessorMixin, prompt: str, folder: Path, dtype: str) -> _Told:
    """Saves. The model itself is let go: the one on the disk follows, and both may not fit."""
    model = with_adapter(base, adapter).eval()
    probe = _probe(model, processor=processor, prompt=prompt)
    beside = _logprobs(model, probe)
    merged = model.merge_and_unload(safe_merge=True)
    inside = _logprobs(merged, probe)
    _round(merged, dtype=getattr(torch, dtype))
    merged.save_pretrained(folder)
    _round(merged, dtype=torch.float32)
    return _Told(probe=probe, adapter=beside, merged=inside, rounded=_logprobs(merged, probe))


def _round(model: PreTrainedModel, *, dtype: torch.dtype) -> None:
    """Weights only: buffers are no part of the file, and a rotary frequency in bfloat16 is another one."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def _check(difference: Tensor, *, what: str, dtype: str) -> None:
    mean = float(difference.abs().mean())
    if not mean <= TOLERANCE[dtype]:  # NaN is no agreement either
        raise ValueError(
            f"The merged model is not the model with the adapter: {what} changed log-probabilities by {mean:.2g} nats in the mean "
            f"over {difference.numel()} tokens, where {TOLERANCE[dtype]:g} is rounding. Nothing was kept. Share the adapter itself "
            "(merge=false), or save with more digits (dtype=float32)."
        )


@torch.no_grad()
def _probe(model: PeftModel, *, processor: ProcessorMixin, prompt: str) -> dict[str, Tensor]:
    """A prompt with a picture and what the model answers, as one input."""
    picture = Image.linear_gradient("L").resize((168, 112)).convert("RGB")
    content = [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    ).to(model.device)
    length = inputs["input_ids"].shape[1]
    whole = model.generate(**inputs, do_sample=False, min_new_tokens=PROBE_TOKENS, max_new_tokens=PROBE_TOKENS, pad_token_id=0)
    longer = whole.new_zeros(1, whole.shape[1] - length)
    probe = {name: torch.cat([value, longer], dim=1) if value.shape == (1, length) else value for name, value in inputs.items()}
    return probe | {"input_ids": whole, "attention_mask": torch.ones_like(whole)}


@torch.no_grad()
def _logprobs(model: torch.nn.Module, probe: dict[str, Tensor]) -> Tensor:
    """Of the tokens of the answer, each given all before it."""
    tokens = probe["input_ids"][0, -PROBE_TOKENS:]
    logits = model(**probe).logits[0, -PROBE_TOKENS - 1 : -1].float()
    chosen: Tensor = logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    return chosen
