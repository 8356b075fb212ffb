"""Memory of each phase before a run: the project's own code on shadows, from the config alone, for every family and every part trained.

What is not in it: the CUDA context (about 0.5 GiB), the work space of cuBLAS and the gaps of the allocator, what NCCL
takes, and the memory of the host. With several ranks the strategy is DDP; others (FSDP, DeepSpeed) are not estimated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vlm_rl.models.policy import Policy
from vlm_rl.preflight import phases
from vlm_rl.preflight.phases import Phase, Tracer
from vlm_rl.preflight.shapes import Workload
from vlm_rl.preflight.tracker import ACTIVATIONS

FEWER = "fewer trained parts (model.freeze) or LoRA (model.lora)"
FEWER_ADAPTERS = "a smaller model.lora.rank or fewer model.lora.targets"
SAMPLING = "rollout.engine.forward_batch_size"
ALWAYS = {  # what makes a part smaller, whatever the phase
    phases.WEIGHTS: "model.dtype=bfloat16 or a smaller model.name",
    phases.REFERENCE: "LoRA (model.lora), whose reference needs no copy, or an algorithm without KL",
    phases.OPTIMIZER: FEWER,
    phases.GRADIENTS: FEWER,
    phases.BUCKETS: FEWER,
    phases.IMAGES: "dataset.max_pixels or dataset.batch_size",
    phases.KV_CACHE: SAMPLING,
}
LESS = {  # what makes activations and logits of a phase smaller
    phases.VISION: "dataset.max_pixels",
    phases.PREFILL: "model.optimization.forward_batch_tokens",
    phases.FIRST_TOKENS: SAMPLING,
    phases.LAST_TOKENS: SAMPLING,
    phases.SCORING: "model.optimization.forward_batch_tokens",
    phases.UPDATE: "model.optimization.micro_batch_tokens",
    phases.OPTIMIZER_STEP: FEWER,
}


@dataclass(frozen=True, kw_only=True)
class PhaseMemory:
    """Bytes alive at the largest moment of a phase, by what they are."""

    name: str
    parts: Mapping[str, int]
    resident: int  # bytes that were there when the phase began
    only_adapters: bool = False  # nothing is trained in full

    @property
    def total(self) -> int:
        """All bytes at the peak."""
        return sum(self.parts.values())

    @property
    def transient(self) -> int:
        """What the phase itself adds."""
        return self.total - self.resident

    @property
    def dominant(self) -> str:
        """The largest part."""
        return max(self.parts, key=lambda part: self.parts[part])

    @property
    def smaller_by(self) -> str:
        """The setting that makes the largest part smaller; of what there is beside the weights, which a run is about."""
        others = {part: size for part, size in self.parts.items() if part != phases.WEIGHTS}
        largest = max(others, key=lambda part: others[part], default=phases.WEIGHTS)
        if self.name == phases.UPDATE and largest == ACTIVATIONS:
            return f"model.gradient_checkpointing=true or {LESS[self.name]}"
        advice = ALWAYS.get(largest) or LESS[self.name]
        return FEWER_ADAPTERS if advice == FEWER and self.only_adapters else advice


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """All phases of a generation step on one rank."""

    phases: tuple[PhaseMemory, ...]

    @property
    def largest(self) -> PhaseMemory:
        """The phase that decides whether a run fits."""
        return max(self.phases, key=lambda phase: phase.total)


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What both estimates are made of: the policy of shadows (no weights) and its phases."""

    policy: Policy
    phases: tuple[Phase, ...]

    @property
    def memory(self) -> MemoryEstimate:
        """Bytes of each phase."""
        adapters = all("lora_" in name for name, p in self.policy.vlm.named_parameters() if p.requires_grad)
        made = [
            PhaseMemory(name=p.name, parts=p.peak.parts, resident=p.peak.at_start, only_adapters=adapters) for p in self.phases
        ]
        return MemoryEstimate(phases=tuple(made))


def trace(make: Callable[[], Policy], *, workload: Workload) -> Traced:
    """Runs the phases of a generation step on shadows; `make` builds the policy with `untrained=True`, no weights read or drawn."""
    tracer = Tracer(make=make, workload=workload)
    phases = tuple(tracer.trace())
    return Traced(policy=tracer.policy, phases=phases)
