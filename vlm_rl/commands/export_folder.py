"""The folder of an export: written whole or not at all. An earlier export is replaced only if it was not edited."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RECORD = "vlm_rl_export.json"


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` to fill; it replaces `folder` at the end."""
    check(folder)
    place = folder.resolve()  # a link to a folder stays one
    unfinished = place.with_name(f".{place.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        check(folder)  # a merge takes its time
        if place.exists():
            shutil.rmtree(place)
        unfinished.replace(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """What a program may want to know, and what `check` knows the folder by; written last."""
    text = json.dumps({**record, "files": hashes(folder)}, indent=1, ensure_ascii=False)
    (folder / RECORD).write_text(text, encoding="utf-8")


def check(folder: Path) -> None:
    """Raises ValueError if anything lies there that an earlier export did not write, or that was edited since."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    written = _written(folder / RECORD)
    if written is None:
        raise ValueError(f"folder={folder} holds something else than an earlier export. Name a new one, or remove it.")
    others = [name for name, found in hashes(folder).items() if written.get(name) != found]
    if others:
        raise ValueError(
            f"folder={folder} is an earlier export, in which these files were added or edited since: {', '.join(others)}. "
            "They would be lost. Move them elsewhere, or name a new folder."
        )


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the record, by its path in the folder; empty for what is no file, such as a dead link."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix(): _hash(path) for path in paths if path != folder / RECORD}


def _hash(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _written(record: Path) -> dict[str, str] | None:
    """The hashes on record, if it is one."""
    try:
        stored = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    files = stored.get("files") if isinstance(stored, dict) else None
    return files if isinstance(files, dict) else None
