"""Which matrices of a part get adapters: those that a pattern names, or all of them.

`all` leaves experts in one 3-D parameter out: their adapters would be as many as the experts (billions of parameters at rank 64), and
PEFT makes new weights of all experts in each forward, so a token of a response would cost as much as reading them all.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from vlm_rl.models.matrices import Matrix, find_matrices

ALL = "all"  # every linear layer but LM head and routers
ALL_WITH_EXPERTS = "all+experts"
PartOf = Callable[[str], str]  # a path -> vision, connector or language


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Rank and scale, and for each part that gets adapters a regular expression of the names of its linear layers, or `all`."""

    rank: int
    alpha: int
    targets: Mapping[str, str | None]  # by part; None: no adapters there

    @property
    def patterns(self) -> dict[str, str]:
        """Of the parts that get adapters."""
        return {part: pattern for part, pattern in self.targets.items() if pattern is not None}


def layer_name(path: str) -> str:
    """The last component of a path, with the one before where that is a mere number: `q_proj`, `mlp.0`."""
    *above, last = path.split(".")
    return f"{above[-1]}.{last}" if last.isdigit() and above else last


def is_tied(vlm: PreTrainedModel) -> bool:
    """Whether the LM head and the embedding table are one tensor."""
    head, table = vlm.get_output_embeddings(), vlm.get_input_embeddings()
    return isinstance(head, nn.Module) and head.weight is table.weight


def chosen(vlm: PreTrainedModel, lora: Lora, *, part_of: PartOf) -> list[str]:
    """Paths of the linear layers, and of the parameters that hold experts, that are to get adapters.

    Raise ValueError naming the key of a part where nothing can get them.
    """
    return [path for part, pattern in lora.patterns.items() for path in _of_part(vlm, part, pattern, part_of)]


def _of_part(vlm: PreTrainedModel, part: str, pattern: str, part_of: PartOf) -> list[str]:
    matrices = [matrix for matrix in find_matrices(vlm) if part_of(matrix.path) == part]
    if pattern in (ALL, ALL_WITH_EXPERTS):
        kinds = ("linear", "experts") if pattern == ALL_WITH_EXPERTS else ("linear",)
        found = [matrix.path for matrix in matrices if matrix.kind in kinds]
    else:
        found = _matching(vlm, part, pattern, part_of)
    if not found:
        layers = sorted({layer_name(matrix.path) for matrix in matrices if _is_layer(matrix, vlm)})
        has = f"Those that it has: {', '.join(layers)}; {ALL} takes every one" if layers else NONE
        raise ValueError(f"{_key(part, pattern)} matches no linear layer of this part. {has}.")
    return found


NONE = "It has none: freeze it or train it in full"


def _key(part: str, pattern: str) -> str:
    return f"model.lora.targets.{part}={pattern!r}"


def _is_layer(matrix: Matrix, vlm: PreTrainedModel) -> bool:
    return matrix.kind == "linear" or (matrix.kind == "router" and isinstance(vlm.get_submodule(matrix.path), nn.Linear))


def _matching(vlm: PreTrainedModel, part: str, pattern: str, part_of: PartOf) -> list[str]:
    """Paths of the linear layers of a part whose names match as a whole."""
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{_key(part, pattern)} is no regular expression: {error}.") from error
    named = {path: module for path, module in vlm.named_modules() if path and part_of(path) == part}
    modules = {path: module for path, module in named.items() if wanted.fullmatch(layer_name(path))}
    ends = (vlm.get_input_embeddings(), vlm.get_output_embeddings())
    table = [layer_name(path) for path, module in modules.items() if any(module is end for end in ends)]
    if table and is_tied(vlm):
        raise ValueError(
            f"{_key(part, pattern)} matches {' and '.join(table)}, but embeddings and LM head of this model are one tied tensor: an "
            "adapter would change one use of it and not the other, and could not be merged. Name other layers, or train language in full."
        )
    bypassed = {matrix.path for matrix in find_matrices(vlm) if matrix.kind == "bypassed"}
    return [path for path, module in modules.items() if isinstance(module, nn.Linear) and path not in bypassed]
