"""What a phase of a generation step takes: the bytes at its peak, by what they are, and its operations."""

from collections.abc import Mapping
from dataclasses import dataclass

from vlm_rl.preflight.tracker import ACTIVATIONS, Operation

WEIGHTS, REFERENCE, OPTIMIZER, GRADIENTS = "weights", "reference copy", "optimizer states", "gradients"
BUCKETS = "gradient buckets of DDP"
IMAGES, KV_CACHE, LOGITS = "images", "kv cache", "logits"
VISION, PREFILL, FIRST_TOKENS, LAST_TOKENS = "vision", "prefill", "first tokens", "last tokens"
SCORING, UPDATE, OPTIMIZER_STEP = "scoring", "update", "optimizer step"
FEWER = "fewer trained parts (model.freeze) or LoRA (model.lora)"
FEWER_ADAPTERS = "a smaller model.lora.rank or fewer model.lora.targets"
SAMPLING = "rollout.engine.forward_batch_size"
OF_PART = {  # what makes a part smaller, whatever the phase
    WEIGHTS: "model.dtype=bfloat16, model.quantization=nf4 with adapters, or a smaller model.name",
    REFERENCE: "LoRA (model.lora), whose reference needs no copy, or an algorithm without KL",
    OPTIMIZER: FEWER,
    GRADIENTS: FEWER,
    BUCKETS: FEWER,
    IMAGES: "dataset.max_pixels or dataset.batch_size",
    KV_CACHE: SAMPLING,
}
OF_PHASE = {  # what makes activations and logits smaller
    VISION: "dataset.max_pixels",
    PREFILL: "model.optimization.forward_batch_tokens",
    FIRST_TOKENS: SAMPLING,
    LAST_TOKENS: SAMPLING,
    SCORING: "model.optimization.forward_batch_tokens",
    UPDATE: "model.optimization.micro_batch_tokens",
    OPTIMIZER_STEP: FEWER,
}


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One traced phase."""

    name: str
    parts: Mapping[str, int]  # bytes alive at the peak, by what they are
    resident: int  # bytes that were there when the phase began
    operations: tuple[Operation, ...]
    num_sequences: int  # prompts or responses of the traced batch
    only_adapters: bool  # no weight of the model itself is trained

    @property
    def total(self) -> int:
        """All bytes at the peak."""
        return sum(self.parts.values())

    @property
    def dominant(self) -> str:
        """The largest part."""
        return max(self.parts, key=lambda part: self.parts[part])

    @property
    def smaller_by(self) -> str:
        """The setting that makes the largest part beside the weights smaller."""
        others = {part: size for part, size in self.parts.items() if part != WEIGHTS}
        largest = max(others, key=lambda part: others[part], default=WEIGHTS)
        if self.name == UPDATE and largest == ACTIVATIONS:
            return f"model.gradient_checkpointing=true or {OF_PHASE[UPDATE]}"
        advice = OF_PART.get(largest) or OF_PHASE[self.name]
        return FEWER_ADAPTERS if advice == FEWER and self.only_adapters else advice
