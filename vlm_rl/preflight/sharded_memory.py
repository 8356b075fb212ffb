"""The phases of a model that is shared out over ranks (models/sharding.py), worked out from those of a whole copy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from vlm_rl.models.policy import Policy
from vlm_rl.models.sharding import decoder_layers
from vlm_rl.preflight import phase as names
from vlm_rl.preflight.phase import Phase

SAMPLED_WHOLE = (names.PREFILL, names.FIRST_TOKENS, names.LAST_TOKENS)  # the embedded engine gathers all weights
GATHERED_BY_LAYER = (names.SCORING, names.UPDATE)
LAYERS_AT_ONCE = 2  # one computes while the next is gathered


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes of the weights of a whole model."""

    all: int  # adapters, which every rank has, left out
    layers: int  # of the decoder
    largest_layer: int

    @property
    def others(self) -> int:
        """Embeddings, head, vision and connector, which are gathered together."""
        return self.all - self.layers


def sizes_of(policy: Policy) -> Sizes:
    """Of a policy that may be on the meta device."""
    layers = [_num_bytes(layer.named_parameters()) for layer in decoder_layers(policy.vlm)]
    return Sizes(all=_num_bytes(policy.vlm.named_parameters()), layers=sum(layers), largest_layer=max(layers))


def shared_out(phases: Sequence[Phase], sizes: Sizes, *, num_ranks: int) -> list[Phase]:
    """What one of the ranks needs in each phase."""
    return [_of_one_rank(phase, sizes, num_ranks=num_ranks) for phase in phases]


def _of_one_rank(phase: Phase, sizes: Sizes, *, num_ranks: int) -> Phase:
    gathered = 0 if phase.name == names.OPTIMIZER_STEP else sizes.others
    if phase.name in SAMPLED_WHOLE:
        gathered = sizes.all
    elif phase.name in GATHERED_BY_LAYER:
        gathered += LAYERS_AT_ONCE * sizes.largest_layer
    parts = dict(phase.parts)
    parts[names.WEIGHTS] = phase.parts[names.WEIGHTS] - sizes.all + sizes.all // num_ranks + gathered
    if names.REFERENCE in parts:
        parts[names.REFERENCE] //= num_ranks
    if not phase.only_adapters:  # those of embeddings and head are whole until all micro-batches have added to them
        for part in (names.OPTIMIZER, names.GRADIENTS, names.BUCKETS):
            parts[part] = parts.get(part, 0) // num_ranks
        parts[names.GRADIENTS] += sizes.others if phase.name == names.UPDATE else 0
    return replace(phase, parts=parts, resident=phase.resident - phase.total + sum(parts.values()))


def _num_bytes(named: Iterable[tuple[str, nn.Parameter]]) -> int:
    return sum(parameter.nbytes for name, parameter in named if ".lora_" not in name)
