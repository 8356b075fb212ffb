"""The model of a run without its weights: the right shapes, dtypes and adapters on the meta device, in seconds and no memory."""

from collections.abc import Sequence

import torch
from transformers import AutoModelForImageTextToText, PreTrainedModel

from vlm_rl.models import parts
from vlm_rl.models.loading import load_config


def blueprint(
    name: str, *, dtype: str, attention: str, freeze: Sequence[str], lora: parts.Lora | None, seed: int
) -> PreTrainedModel:
    """As `Policy` makes it of a pretrained model; what it refuses is refused here with the same words."""
    config = load_config(name)
    with torch.device("meta"):
        vlm: PreTrainedModel = AutoModelForImageTextToText.from_config(
            config, dtype=getattr(torch, dtype), attn_implementation=attention
        )
        parts.prepare(vlm, freeze=freeze, lora=lora, seed=seed)
    return vlm
