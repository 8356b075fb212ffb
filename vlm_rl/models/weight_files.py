"""Weights on the disk, looked at before anybody reads a tensor: headers of safetensors, and the index of a model in pieces."""

import contextlib
import json
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from vlm_rl.models.folder_files import read_object

MAX_HEADER_BYTES = 100_000_000  # the library's own limit
MIN_BYTES = 8  # the length of the header
INDEX = "*.safetensors.index.json"
FLOATS = ("F64", "F32", "F16", "BF16")
WEIGHTS = (".weight", ".bias")
AGAIN = "Copy or download that file again."


def check_weight_files(folder: Path) -> None:
    """Raises ValueError or FileNotFoundError for an index that names other files than its own, and for a file that is cut off or
    no safetensors."""
    names = {file.name: _checked_names(file) for file in sorted(folder.glob("*.safetensors"))}
    for index in sorted(folder.glob(INDEX)):
        _check_index(index, names)


@contextlib.contextmanager
def damaged_weights(name: str) -> Iterator[None]:
    """Around reading weights that could not be looked at before, as those of the hub: the library's error names no file."""
    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{name}: its weights are damaged or cut off ({error}). Download or copy the model again.") from None


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
    for name in sorted(set(entries.values())):
        if not (index.parent / name).is_file():
            raise FileNotFoundError(f"{index} names {name[:200]}, which is not there. Copy or download the whole model again.")
    for tensor, name in entries.items():
        if tensor not in names[name]:
            raise ValueError(
                f"{index} says that {tensor[:200]} is in {name[:200]}, but that file does not hold it. "
                "Copy or download the whole model again."
            )


def _checked_names(file: Path) -> Collection[str]:
    """Of its tensors. The file is as long as its header says, and its weights are numbers."""
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
        raise ValueError(f"{file} is {how}: it has {size} bytes, where its header tells of {expected}. {AGAIN}")
    if coded := [name for name, dtype in dtypes.items() if dtype not in FLOATS and name.endswith(WEIGHTS)]:
        raise ValueError(
            f"{file}: {coded[0][:200]} is in {str(dtypes[coded[0]])[:20]}, the codes of a quantised model and no numbers. Take the model "
            "before it was quantised."
        )
    return entries.keys()


def _end(entry: dict[str, Any]) -> int:
    start, end = entry["data_offsets"]
    if type(start) is not int or type(end) is not int or not 0 <= start <= end:
        raise ValueError(entry)
    return end
