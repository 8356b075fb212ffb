"""What a base model is by the content of its files: one that was trained on, or whose tokenizer has changed, is another model.

The files of a model of the hub are those that lie in the hub's cache after it was loaded; nothing is downloaded here.
"""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache

from vlm_rl.models.folder_files import files_of
from vlm_rl.models.loading import resolve
from vlm_rl.models.weight_files import MIN_BYTES

WEIGHTS = ".safetensors"
WHOLE = 64 * 2**20  # bytes; a file of weights up to this size is read whole
SAMPLED = 4096  # first bytes of each tensor of a larger one
DIGITS = 16  # of a hash, hexadecimal


def weights_identity(name: str, *, subfolder: str, is_untrained: bool, reads_all: bool) -> dict[str, Any]:
    """The commit, None but for a model of the hub, and for each file its size in bytes and its hash: `all` of all bytes, `sample`
    of header, size and the first 4 KiB of every tensor.

    Of a 7B model (15 GB, 730 tensors) 3 MB are read: 5 ms from the memory of the system, below a second from a local disk. Where it
    `reads_all`, all bytes are hashed at some 1.2 GB/s: 13 s. `is_untrained`: the model begins with random weights, so those in its
    folder do not count. `subfolder` is that of the processor, or empty.
    """
    folder, commit = _folder(name)
    if folder is None:
        print(
            f"model.name={name}: its files are not in the hub's cache, so the manifest cannot say what they hold, and a change of "
            "them will not be noticed.",
            flush=True,
        )
        return {"commit": None, "files": {}}
    places = dict.fromkeys((folder, folder / subfolder))
    files = (file for place in places for file in files_of(place) if not (is_untrained and file.suffix == WEIGHTS))
    return {
        "commit": commit,
        "files": {file.relative_to(folder).as_posix(): _identity(file, reads_all=reads_all) for file in files},
    }


def hash_of_all(file: Path) -> str:
    """SHA-256 of all bytes, its first 16 digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:DIGITS]


def _folder(name: str) -> tuple[Path | None, str | None]:
    """Where the files of a model lie, and their commit on the hub."""
    local = Path(resolve(name))
    if local.is_dir():
        return local, None
    found = try_to_load_from_cache(name, "config.json")
    return (Path(found).parent, Path(found).parent.name) if isinstance(found, str) else (None, None)


def _identity(file: Path, *, reads_all: bool) -> dict[str, int | str]:
    size = file.stat().st_size
    is_large = file.suffix == WEIGHTS and size > WHOLE
    return (
        {"bytes": size}
        | ({"sample": _hash_of_sample(file, size=size)} if is_large else {})
        | ({"all": hash_of_all(file)} if reads_all or not is_large else {})
    )


def _hash_of_sample(file: Path, *, size: int) -> str:
    """Of the size, the header and the first bytes of every tensor, in the order of the file."""
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as opened:
        start = opened.read(MIN_BYTES)
        header = opened.read(struct.unpack("<Q", start)[0])
        digest.update(start + header)
        entries = json.loads(header)
        for begin, end in sorted(entry["data_offsets"] for name, entry in entries.items() if name != "__metadata__"):
            opened.seek(MIN_BYTES + len(header) + begin)
            digest.update(opened.read(min(SAMPLED, end - begin)))
    return digest.hexdigest()[:DIGITS]
