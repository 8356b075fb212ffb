"""Whether weights are those of the model that they are read into: all of them, no others, of the right shapes, and numbers.

Libraries draw what is missing at random and leave out what they do not know, with a warning at most; here both are errors.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from vlm_rl.models.weight_files import INDEX, damaged_weights

MODEL_WAY_OUT = (
    "Copy or download the whole model again. If it is whole, its config.json is of another model, or another version of Transformers "
    "saved it: load it there, and save it again (save_pretrained)."
)
_SHOWN = 3  # names of tensors in a message


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """What a library says of a file and a model; all empty: they fit."""

    missing: Collection[str]  # names of tensors that the model has and the file has not
    unexpected: Collection[str]  # the other way round
    mismatched: Mapping[str, tuple[Iterable[int], Iterable[int]]]  # shapes in the file and in the model

    def check(self, where: str, *, way_out: str) -> None:
        """Raises ValueError with names of both; `where` is the file."""
        told = []
        if self.missing:
            told.append(f"tensors of the model that it lacks: {_some(self.missing)}")
        if self.unexpected:
            told.append(f"tensors that the model does not have: {_some(self.unexpected)}")
        if self.mismatched:
            name = min(self.mismatched)
            found, needed = map(list, self.mismatched[name])
            told.append(f"tensors of another shape: {len(self.mismatched)} ({name} is {found} there, {needed} in the model)")
        if told:
            raise ValueError(f"{where} does not fit the model: {'; '.join(told)}. Nothing was taken from it. {way_out}")


def misfit(found: Mapping[str, Tensor], *, needed: Mapping[str, Tensor], allowed: Collection[str] = ()) -> Misfit:
    """Of tensors by name; `allowed` are further names that may be there."""
    both = found.keys() & needed.keys()
    return Misfit(
        missing=needed.keys() - found.keys(),
        unexpected=found.keys() - needed.keys() - set(allowed),
        mismatched={name: (found[name].shape, needed[name].shape) for name in both if found[name].shape != needed[name].shape},
    )


def check_finite(where: str, tensors: Mapping[str, Tensor], *, way_out: str) -> None:
    """Raises ValueError where a weight is NaN or infinite."""
    wrong = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if wrong:
        raise ValueError(f"{where} holds NaN or infinite numbers, in tensors: {_some(wrong)}. {way_out}")


def read_model(
    name: str, folder: str, *, dtype: torch.dtype, config: PreTrainedConfig | None = None, **more: Any
) -> PreTrainedModel:
    """A whole model from safetensors, no code of its own; `name` is what it is called in a message, `folder` may be of the hub."""
    with damaged_weights(name):
        model, told = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are told with the others, below
            **({} if config is None else {"config": config}),
            **more,
        )
    where = _where(name, Path(folder))
    shapes = {key: (found, needed) for key, found, needed in told["mismatched_keys"]}
    fit = Misfit(missing=told["missing_keys"], unexpected=told["unexpected_keys"], mismatched=shapes)
    fit.check(where, way_out=MODEL_WAY_OUT)
    too_large = f" As {str(dtype).removeprefix('torch.')}: where they are only too large for that, take model.dtype=bfloat16."
    check_finite(where, model.state_dict(), way_out=MODEL_WAY_OUT + (too_large if dtype == torch.float16 else ""))
    read: PreTrainedModel = model
    return read


def _where(name: str, folder: Path) -> str:
    """The file that says which weights there are."""
    files = [*sorted(folder.glob(INDEX)), *sorted(folder.glob("*.safetensors"))] if folder.is_dir() else []
    return str(files[0]) if files else name


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    least, most = torch.aminmax(tensor.detach())  # a NaN is both
    return math.isfinite(least) and math.isfinite(most)


def _some(names: Collection[str]) -> str:
    """How many, and the first of them."""
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} ({', '.join(name[:200] for name in sorted(names)[:_SHOWN])}{more})"
