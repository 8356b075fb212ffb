"""What a checkpoint keeps of the optimizer, and whether a file fits what is trained.

Moments of tensors that are shared out over ranks lie beside it, each rank's part in a file of its own; all else is in one file.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from vlm_rl.models.trained_weights import WAY_OUT
from vlm_rl.models.weight_parts import load_parts

MOMENTS = "moments"  # the folder in a checkpoint
OF_ADAM = ("exp_avg", "exp_avg_sq")


def without_parts(state: dict[str, Any]) -> dict[str, Any]:
    """The state of an optimizer without moments of which this rank has only a part."""
    kept = {
        place: {name: value for name, value in moments.items() if not isinstance(value, DTensor)}
        for place, moments in state["state"].items()
    }
    return state | {"state": kept}


def moments_of_parts(optimizer: torch.optim.Optimizer, vlm: nn.Module) -> dict[str, Tensor]:
    """The moments that `without_parts` leaves out, by kind and tensor."""
    return {
        f"{kind}.{name}": optimizer.state[parameter][kind]
        for name, parameter in vlm.named_parameters()
        for kind in OF_ADAM
        if parameter.requires_grad and isinstance(parameter, DTensor) and parameter in optimizer.state
    }


def load_moments(optimizer: torch.optim.Optimizer, vlm: nn.Module, *, folder: Path) -> None:
    """Take what `moments_of_parts` gave from a checkpoint, and bring whole moments into the layout of now: it may be another one."""
    trained = {name: parameter for name, parameter in vlm.named_parameters() if parameter.requires_grad}
    if (folder / MOMENTS).is_dir():
        found = {
            f"{kind}.{name}": torch.zeros_like(parameter)
            for name, parameter in trained.items()
            for kind in OF_ADAM
            if kind not in optimizer.state[parameter]
        }
        load_parts(found, folder / MOMENTS, way_out=WAY_OUT)
        for place, moment in found.items():
            kind, _, name = place.partition(".")
            optimizer.state[trained[name]][kind] = moment
    for parameter in trained.values():
        moments = optimizer.state[parameter]
        for kind in OF_ADAM if isinstance(parameter, DTensor) else ():
            moments[kind] = part_like(moments[kind], cast(DTensor, parameter))


def part_like(tensor: Tensor, other: DTensor) -> Tensor:
    """This rank's part of a tensor that may be whole, as it has it of another one."""
    if isinstance(tensor, DTensor):
        return tensor
    return distribute_tensor(tensor, other.device_mesh, other.placements, src_data_rank=None)


def check_optimizer(saved: object, optimizer: torch.optim.Optimizer, *, file: Path) -> None:
    """Raise ValueError where the moments in the file are not those of what is trained; torch compares only how many there are."""
    why = _misfit(saved, optimizer)
    if why:
        raise ValueError(
            f"{file} does not fit what is trained: {why}. It was saved with another model.name, model.lora or model.freeze, or was "
            f"changed since. Take those that it was saved with, or remove the folder {file.parent}: the same command then goes on "
            "from the checkpoint before it."
        )


def _misfit(saved: Any, optimizer: torch.optim.Optimizer) -> str | None:
    try:
        moments, kept = saved["state"].items(), [len(group["params"]) for group in saved["param_groups"]]
    except (TypeError, KeyError, AttributeError):
        return "there is no state of an optimizer in it"
    groups = [group["params"] for group in optimizer.param_groups]
    needed = [len(group) for group in groups]
    if kept != needed:
        return f"it has groups of {kept} tensors, and {needed} are trained"
    parameters = [parameter for group in groups for parameter in group]
    return next(_wrong_moments(moments, parameters), None)


def _wrong_moments(state: Iterable[tuple[Any, Any]], parameters: list[Tensor]) -> Iterator[str]:
    for place, moments in state:
        if not isinstance(place, int) or not 0 <= place < len(parameters) or not isinstance(moments, Mapping):
            yield f"it has a state for tensor {place}, which is none of those"
            continue
        shape = parameters[place].shape
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != shape:
                yield f"{name} of tensor {place} has the shape {list(value.shape)}, and what is trained {list(shape)}"
            elif isinstance(value, Tensor) and not torch.isfinite(value).all():
                yield f"{name} of tensor {place} holds NaN or infinite numbers"
