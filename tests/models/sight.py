"""One prompt with an image for the tiny VLM, and plain steps on it: no policy, no algorithm, no engine."""

import functools
import re

import torch
from tiny_runs import Sheet
from torch import Tensor
from transformers import PreTrainedModel

from vlm_rl.models.loading import load_pretrained, load_processor
from vlm_rl.models.parts import Lora, trained

TARGETS = {"vision": "qkv|proj|(gate|up|down)_proj", "connector": ".*", "language": "(q|k|v|o|gate|up|down)_proj"}
LORA_LAYERS = {  # of the tiny model, by hand
    "vision": re.compile(r"model\.visual\.blocks\.[01]\.(attn\.(qkv|proj)|mlp\.(gate|up|down)_proj)\.weight"),
    "connector": re.compile(r"model\.visual\.merger\.mlp\.[02]\.weight"),
    "language": re.compile(r"model\.language_model\.layers\.[012]\.(self_attn\.[qkvo]|mlp\.(gate|up|down))_proj\.weight"),
}


def tiny(*, dtype: str = "float32") -> PreTrainedModel:
    """The shipped model, fresh."""
    return load_pretrained("tiny", dtype=dtype, attention="sdpa")


def adapters(*parts: str) -> Lora | None:
    """LoRA on all linear layers of these parts."""
    return Lora(rank=2, alpha=4, targets={part: TARGETS[part] for part in parts}) if parts else None


@functools.cache
def prompt() -> dict[str, Tensor]:
    """What the tiny model's own processor makes of a question about a picture."""
    processor = load_processor("tiny", {})
    content = [{"type": "image"}, {"type": "text", "text": "Find AB in the figure."}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return dict(processor(text=[text], images=[[Sheet(1).load()]], return_tensors="pt"))


def logits(vlm: PreTrainedModel) -> Tensor:
    """Of every position."""
    found: Tensor = vlm(**prompt(), use_cache=False).logits
    return found


def step(vlm: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
    """Towards whatever the prompt itself says."""
    optimizer.zero_grad()
    logits(vlm).float()[0, :-1].log_softmax(-1).gather(-1, prompt()["input_ids"][0, 1:, None]).mean().neg().backward()
    optimizer.step()


def learn(vlm: PreTrainedModel, *, steps: int = 2) -> None:
    """The second step moves the first matrices of the adapters: at the beginning the other ones are zero."""
    optimizer = torch.optim.AdamW([p for group in trained(vlm).values() for p in group], lr=1e-2, weight_decay=0.0)
    for _ in range(steps):
        step(vlm, optimizer)
