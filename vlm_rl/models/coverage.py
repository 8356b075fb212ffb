"""How much of a part its adapters reach, for the table of parts and the manifest."""

from dataclasses import asdict, dataclass
from typing import Any

from transformers import PreTrainedModel

from vlm_rl.models.adapters import adapted
from vlm_rl.models.matrices import find_matrices
from vlm_rl.models.targets import ALL_WITH_EXPERTS, PartOf

SHOWN = 8  # names in the printed line


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Of one part with adapters; the experts of a layer in one 3-D parameter are one matrix.

    Routers are counted; embedding tables, LM head, convolutions, norms and biases are not.
    """

    part: str
    matrices: int
    adapted_matrices: int
    weights: int  # numbers in these matrices
    adapted_weights: int
    none_on: tuple[str, ...]  # short names of matrices of which some have no adapter
    has_plain_experts: bool  # experts in 3-D parameters are among those

    @property
    def line(self) -> str:
        """One sentence, two where experts have no adapters. Only all matrices are 100 %."""
        percent = 100 if not self.none_on else min(99, max(1, round(100 * self.adapted_weights / self.weights)))
        counts = f"{self.adapted_matrices} of {self.matrices} matrices"
        more = f" and {len(self.none_on) - SHOWN} more" if len(self.none_on) > SHOWN else ""
        rest = f"; none on: {', '.join(self.none_on[:SHOWN])}{more}" if self.none_on else ""
        experts = f" model.lora.targets.{self.part}={ALL_WITH_EXPERTS} reaches experts too." if self.has_plain_experts else ""
        return f"{self.part}: adapters on {percent} % of the weights in its matrices ({counts}){rest}.{experts}"

    @property
    def entry(self) -> dict[str, Any]:
        """For the manifest, by the names of the fields."""
        return asdict(self) | {"none_on": list(self.none_on)}


def coverage(vlm: PreTrainedModel, *, part_of: PartOf) -> list[Coverage]:
    """Of each part that has adapters, in the model's order."""
    reached, found = adapted(vlm), find_matrices(vlm)
    rows = []
    for part in dict.fromkeys(part_of(path) for path in reached):
        members = [matrix for matrix in found if part_of(matrix.path) == part]
        with_adapter = [matrix for matrix in members if matrix.path in reached]
        without = [matrix for matrix in members if matrix.path not in reached]
        rows.append(
            Coverage(
                part=part,
                matrices=len(members),
                adapted_matrices=len(with_adapter),
                weights=sum(matrix.num_weights for matrix in members),
                adapted_weights=sum(matrix.num_weights for matrix in with_adapter),
                none_on=tuple(dict.fromkeys(matrix.name for matrix in without)),
                has_plain_experts=any(matrix.kind == "experts" for matrix in without),
            )
        )
    return rows
