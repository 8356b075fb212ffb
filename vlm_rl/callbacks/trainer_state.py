"""Whether the state of an optimizer in a checkpoint is that of what is trained."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_PARTS = {"state": Mapping, "param_groups": list}  # of an optimizer's state


def check_optimizer(saved: object, optimizer: torch.optim.Optimizer, *, file: Path) -> None:
    """Raises ValueError where the moments in the file are not those of what is trained: torch looks at how many there are alone."""
    why = _misfit(saved, optimizer)
    if why:
        raise ValueError(
            f"{file} does not fit what is trained: {why}. It was saved with another model.name, model.lora or model.freeze, or was "
            f"changed since. Take those that it was saved with, or remove the folder {file.parent}: the same command then goes on "
            "from the checkpoint before it."
        )


def _misfit(saved: Any, optimizer: torch.optim.Optimizer) -> str | None:
    if not isinstance(saved, Mapping) or not all(isinstance(saved.get(key), kind) for key, kind in _PARTS.items()):
        return "there is no state of an optimizer in it"
    try:
        kept = [len(group["params"]) for group in saved["param_groups"]]
    except (TypeError, KeyError):
        return "its groups of parameters cannot be read"
    groups = [group["params"] for group in optimizer.param_groups]
    needed = [len(group) for group in groups]
    if kept != needed:
        return f"it has groups of {kept} tensors, and {needed} are trained"
    parameters = [parameter for group in groups for parameter in group]
    return next(_wrong_moments(saved["state"], parameters), None)


def _wrong_moments(state: Mapping[Any, Any], parameters: list[Tensor]) -> Iterator[str]:
    for place, moments in state.items():
        if not isinstance(place, int) or not 0 <= place < len(parameters) or not isinstance(moments, Mapping):
            yield f"it has a state for tensor {place}, which is none of those"
            continue
        shape = parameters[place].shape
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != shape:
                yield f"{name} of tensor {place} has the shape {list(value.shape)}, and what is trained {list(shape)}"
            elif isinstance(value, Tensor) and not torch.isfinite(value).all():
                yield f"{name} of tensor {place} holds NaN or infinite numbers"
