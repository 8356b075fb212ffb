"""Checks of weight files: header and index before a tensor is read; then that all tensors of the model are there, no others, all finite."""

import json
import math
import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from vlm_rl.models.folder_files import read_object

MAX_HEADER_BYTES = 100_000_000  # the library's own limit
MIN_BYTES = 8  # the length of the header
INDEX = "*.safetensors.index.json"
FLOATS = ("F64", "F32", "F16", "BF16")
WEIGHTS = (".weight", ".bias")
AGAIN = "Copy or download that file again."
MODEL_WAY_OUT = (
    "Copy or download the whole model again. If it is whole, its config.json is of another model, or another version of Transformers "
    "saved it: load it there, and save it again (save_pretrained)."
)
_SHOWN = 3  # names of tensors in a message


def check_weight_files(folder: Path) -> None:
    """Raises ValueError or FileNotFoundError for an index that names other files than its own, and for a file that is cut off or
    no safetensors."""
    names = {file.name: _checked_names(file) for file in sorted(folder.glob("*.safetensors"))}
    for index in sorted(folder.glob(INDEX)):
        _check_index(index, names)


def _check_index(index: Path, names: Mapping[str, Collection[str]]) -> None:
    entries = read_object(index).get("weight_map")
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{index} has no weight_map of its files. {AGAIN}")
    for tensor, name in entries.items():
        plain = isinstance(name, str) and name.endswith(".safetensors") and not {"/", "\\", "\0"} & set(name)
        if not plain:
            raise ValueError(
                f"{index} says that {str(tensor)[:100]} is in {str(name)[:200]!r}, which is no *.safetensors file beside it. Nothing else "
                "is opened. Take the model from where it was published, or save it again (save_pretrained)."
            )
        if name not in names:
            raise FileNotFoundError(f"{index} names {name[:200]}, which is not there. Copy or download the whole model again.")
        if tensor not in names[name]:
            raise ValueError(
                f"{index} says that {tensor[:200]} is in {name[:200]}, but that file does not hold it. "
                "Copy or download the whole model again."
            )


def _checked_names(file: Path) -> Collection[str]:
    """The names of the tensors in a file. Raise ValueError where it is not as long as its header says, or is quantised."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(MIN_BYTES)
        if start == b"version ":
            raise ValueError(f"{file} is a pointer of Git LFS and no weights. Run `git lfs pull` in its repository.")
        length = struct.unpack("<Q", start)[0] if len(start) == MIN_BYTES else -1
        if not 0 < length <= min(size - MIN_BYTES, MAX_HEADER_BYTES):
            raise ValueError(
                f"{file} is no safetensors file, or is cut off: its header does not fit in its {size} bytes. {AGAIN}"
            )
        header = opened.read(length)
    try:
        entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        ends, dtypes = [_end(entry) for entry in entries.values()], {name: entry["dtype"] for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        raise ValueError(f"{file} is no safetensors file: its header cannot be read. {AGAIN}") from None
    expected = MIN_BYTES + length + max(ends, default=0)
    if size != expected:
        how = "cut off" if size < expected else "damaged"
        raise ValueError(f"{file} is {how}: it has {size} bytes, where its header needs {expected}. {AGAIN}")
    if coded := [name for name, dtype in dtypes.items() if dtype not in FLOATS and name.endswith(WEIGHTS)]:
        raise ValueError(
            f"{file}: {coded[0][:200]} is in {str(dtypes[coded[0]])[:20]}, the codes of a quantised model and no numbers. Take the model "
            "before it was quantised; model.quantization=nf4 does it here."
        )
    return entries.keys()


def _end(entry: dict[str, Any]) -> int:
    start, end = entry["data_offsets"]
    if type(start) is not int or type(end) is not int or not 0 <= start <= end:
        raise ValueError(entry)
    return end


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """How the weights of a file differ from those of a model; all empty: they fit."""

    missing: Collection[str]  # names of tensors that the model has and the file has not
    unexpected: Collection[str]  # the other way round
    mismatched: Mapping[str, tuple[Iterable[int], Iterable[int]]]  # shapes in the file and in the model

    def check(self, where: str, *, way_out: str) -> None:
        """Raises ValueError with names of both; `where` is the file."""
        problems = []
        if self.missing:
            problems.append(f"tensors of the model that it lacks: {_some(self.missing)}")
        if self.unexpected:
            problems.append(f"tensors that the model does not have: {_some(self.unexpected)}")
        if self.mismatched:
            name = min(self.mismatched)
            found, needed = map(list, self.mismatched[name])
            problems.append(
                f"tensors of another shape: {len(self.mismatched)} ({name} is {found} there, {needed} in the model)"
            )
        if problems:
            raise ValueError(f"{where} does not fit the model: {'; '.join(problems)}. Nothing was taken from it. {way_out}")


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
    try:
        model, info = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the message below names them with the others
            **({} if config is None else {"config": config}),
            **more,
        )
    except SafetensorError as error:  # of the hub: files of a folder were checked before
        raise ValueError(f"{name}: its weights are damaged or cut off ({error}). Download or copy the model again.") from None
    place = Path(folder)
    files = [*sorted(place.glob(INDEX)), *sorted(place.glob("*.safetensors"))] if place.is_dir() else []
    where = str(files[0]) if files else name  # the file that lists the weights
    shapes = {key: (found, needed) for key, found, needed in info["mismatched_keys"]}
    fit = Misfit(missing=info["missing_keys"], unexpected=info["unexpected_keys"], mismatched=shapes)
    fit.check(where, way_out=MODEL_WAY_OUT)
    too_large = f" As {str(dtype).removeprefix('torch.')}: where they are only too large for that, take model.dtype=bfloat16."
    check_finite(where, _finite_but_for_bounds(model), way_out=MODEL_WAY_OUT + (too_large if dtype == torch.float16 else ""))
    read: PreTrainedModel = model
    return read


def _finite_but_for_bounds(model: PreTrainedModel) -> dict[str, Tensor]:
    """The weights, and buffers with infinities taken for 0: a bound that holds nothing back is infinite (Gemma 4's clipped layers)."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    state = model.state_dict()
    return {
        name: tensor if name in parameters else torch.nan_to_num(tensor, nan=math.nan, posinf=0.0, neginf=0.0)
        for name, tensor in state.items()
    }


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    own = tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor.detach()
    least, most = torch.aminmax(own) if own.numel() else (0.0, 0.0)  # a NaN is both
    return math.isfinite(least) and math.isfinite(most)


def _some(names: Collection[str]) -> str:
    """How many, and the first of them."""
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} ({', '.join(name[:200] for name in sorted(names)[:_SHOWN])}{more})"
