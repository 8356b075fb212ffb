"""SHA-256 and size of files, and `hashes.json`: what was written, so that nothing is read back that is not the same."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlm_rl.durable_files import write_whole

HASHES = "hashes.json"


@dataclass(frozen=True, kw_only=True)
class FileHash:
    """The content of a file, or of its first `num_bytes`."""

    num_bytes: int
    sha256: str  # hexadecimal


Hashes = dict[str, FileHash]  # by path, relative to a folder


def hash_of(file: Path, *, num_bytes: int | None = None) -> FileHash:
    """Of a whole file, or of its first `num_bytes`, of which there may be fewer."""
    digest, left = hashlib.sha256(), num_bytes if num_bytes is not None else file.stat().st_size
    total = 0
    with file.open("rb") as opened:
        while left and (block := opened.read(min(left, 1 << 20))):
            digest.update(block)
            left, total = left - len(block), total + len(block)
    return FileHash(num_bytes=total, sha256=digest.hexdigest())


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """JSON content with the hash of all the rest under `sha256`."""
    rest = json.loads(json.dumps({key: value for key, value in content.items() if key != "sha256"}, default=str))
    text = json.dumps(rest, sort_keys=True)  # of what will be read: there all keys are texts
    return {**rest, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def is_sealed(content: Mapping[str, Any]) -> bool:
    """Whether the content is as `sealed` made it."""
    return bool(sealed(content)["sha256"] == content.get("sha256"))


def write_hashes(file: Path, *, of: str, **parts: Hashes) -> None:
    """Write a `hashes.json`, whole; `of`: what it belongs to, so that a copy of another one is not believed."""
    content = sealed({"of": of} | {name: {path: asdict(one) for path, one in part.items()} for name, part in parts.items()})
    write_whole(file, lambda place: place.write_text(json.dumps(content, indent=0, sort_keys=True), encoding="utf-8"))


def read_hashes(file: Path, part: str, *, of: Collection[str]) -> Hashes:
    """One part of a `hashes.json` that belongs to one of `of`.

    Raise FileNotFoundError or ValueError naming the file where it cannot be trusted.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not is_sealed(content):
            raise ValueError("it was changed since it was written")
        if content["of"] not in of:
            raise ValueError(f"it is that of {content['of']}, and not of {' or '.join(of)}")
        return {path: FileHash(**one) for path, one in content[part].items()}
    except FileNotFoundError:
        raise FileNotFoundError(f"{file} is not there") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise ValueError(f"{file} is damaged ({error})") from None


def damages(folder: Path, hashes: Hashes, *, growing: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(path in the folder, what is wrong) for each file that is not what was written; files that are `growing` may be longer."""
    for name, written in hashes.items():
        if (why := _damage(folder / name, written, may_be_longer=name in growing)) is not None:
            yield name, f"{folder / name} {why}"


def _damage(file: Path, written: FileHash, *, may_be_longer: bool) -> str | None:
    try:
        size = file.stat().st_size
        if not file.is_file():
            return "is no file"
        if size < written.num_bytes:
            return f"is cut off: it has {size} bytes of {written.num_bytes}"
        if size > written.num_bytes and not may_be_longer:
            return f"has {size} bytes, and {written.num_bytes} were written"
        return None if hash_of(file, num_bytes=written.num_bytes) == written else "is not what was written: bytes have changed"
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
