"""Why a picture file may be missing: its name is spelt in another way, or an archive beside it is not unpacked."""

import os
import shlex
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

from vlm_rl.datasets.shown import shown

MOST_ENTRIES = 200_000  # of a folder that are read
MOST_FOLDERS = 100  # searched for a name that lacks its folder
UNPACK = {
    ".zip": "python -m zipfile -e {archive} {folder}",
    **dict.fromkeys((".tar", ".tar.gz", ".tgz"), "tar -xf {archive} -C {folder}"),
}
PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def hint(path: Path, *, folder: Path | None) -> str:
    """A sentence on what the folder holds instead of a missing file; empty where it holds nothing similar."""
    if folder is None or not path.is_relative_to(folder):
        return ""
    name = path.relative_to(folder).as_posix()
    if (found := next(_alike(name, folder), None)) is not None:
        forms = ", in another Unicode form" if found != name and _composed(found) == _composed(name) else ""
        return f" There is {shown(found)}{forms}: the row must name it so, or rename the file."
    if archives := sorted(filter(is_archive, _names(folder).values())):
        tool = next(tool for end, tool in UNPACK.items() if archives[0].endswith(end))
        command = tool.format(archive=shlex.quote(str(folder / archives[0])), folder=shlex.quote(str(folder)))
        others = f" and {len(archives) - 1} more" if len(archives) > 1 else ""
        return f" There is {shown(archives[0])}{others}; unpack it: {command}"
    return ""


def is_archive(name: str) -> bool:
    """Whether the name ends as that of an archive."""
    return name.lower().endswith(tuple(UNPACK))


def _alike(name: str, folder: Path) -> Iterator[str]:
    """Names of similar files in the folder, the most similar first."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    tried = [parts, *(parts[start:] for start in range(1, len(parts)))]
    tried += [[other, *parts] for other in islice(_folders(folder), MOST_FOLDERS)]
    for members in tried:
        if (found := _found(folder, members)) is not None:
            yield found


def _found(folder: Path, parts: list[str]) -> str | None:
    place = folder
    for number, part in enumerate(parts):
        names = _names(place)
        entry = names.get(_plain(part))
        if entry is None and number == len(parts) - 1:
            stem, end = os.path.splitext(part)
            ends = PICTURES if end.lower() in PICTURES or not end else frozenset()
            entry = next((names[key] for each in sorted(ends) if (key := _plain(stem + each)) in names), None)
        if entry is None:
            return None
        place = place / (part if (place / part).exists() else entry)
    return place.relative_to(folder).as_posix() if parts and place.is_file() else None


def _names(folder: Path) -> dict[str, str]:
    """The names in a folder, by the name without case and Unicode form. Empty for what is no folder."""
    try:
        return _names_at(str(folder), folder.stat().st_mtime_ns)
    except OSError:
        return {}


@lru_cache(64)
def _names_at(folder: str, changed: int) -> dict[str, str]:
    """Read once, until the folder changes."""
    with os.scandir(folder) as entries:
        return {_plain(entry.name): entry.name for entry in islice(entries, MOST_ENTRIES)}


def _folders(folder: Path) -> Iterator[str]:
    names = sorted(_names(folder).values())
    return (name for name in names if "." not in name and (folder / name).is_dir())


def _plain(name: str) -> str:
    return _composed(name).casefold()


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
