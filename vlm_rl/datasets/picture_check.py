"""Every distinct picture checked once: its content, its size, and whether it can be decoded; threads, no pixels kept."""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import PIL
from PIL import Image

from vlm_rl.datasets.missing import hint
from vlm_rl.datasets.picture import BadPicture, FileBytes, Picture
from vlm_rl.datasets.row import ImageSource
from vlm_rl.datasets.shown import shortened
from vlm_rl.durable_files import write_whole
from vlm_rl.randomness import stream

FORMAT = "v1"  # goes up with every change of what an entry means
MAX_ENTRIES = 2_000_000  # of one file; past that only what is new is kept
DECODE = ("auto", "all", "headers")
ALL_UP_TO = 20_000  # distinct pictures that `auto` decodes; of more it decodes SAMPLE drawn ones
SAMPLE = 2_000
THREADS = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
GONE = "is not there. Restore the file or drop the row."
CHUNK = 2_000  # pictures handed to the threads at a time
LARGE = 16_000_000  # pixels; with up to 30 bytes each while they are decoded 0.5 GB
_large = threading.Lock()  # larger pictures are decoded one at a time


class Cache:
    """Entries by place (the pictures or the golds of a data set) and name. `folder=None` remembers nothing."""

    def __init__(self, *, folder: str | None) -> None:
        self._folder = Path(folder).expanduser() / FORMAT if folder else None

    def read(self, place: str) -> dict[str, Any]:
        """All entries of a place; none of a file that is damaged."""
        if self._folder is None:
            return {}
        try:
            found = json.loads(self._file(place, self._folder).read_text(encoding="utf-8"))
            return dict(found["entries"]) if found["place"] == place else {}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def add(self, place: str, entries: Mapping[str, Any]) -> None:
        """Writes new entries beside the old ones; a folder that cannot be written to is no reason to stop."""
        if self._folder is None or not entries:
            return
        both = self.read(place) | dict(entries)
        text = json.dumps(
            {"place": place, "entries": both if len(both) <= MAX_ENTRIES else dict(entries)}, separators=(",", ":")
        )
        with contextlib.suppress(OSError):
            write_whole(self._file(place, self._folder), lambda file: file.write_text(text, encoding="utf-8"))

    @staticmethod
    def _file(place: str, folder: Path) -> Path:
        return folder / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"


@dataclass(frozen=True, kw_only=True)
class CheckedPicture:
    """An image source whose content key and size are known; `problem` says why it cannot be used."""

    source: ImageSource
    stamp: list[int] | None  # state of the file before it was read; None: not to be remembered
    key: str = ""
    size: tuple[int, int] = (0, 0)
    decoded: bool = False
    problem: str = ""

    @property
    def reason(self) -> str:
        """The problem in a few words."""
        return "image not there" if GONE in self.problem else "image cannot be read"

    @property
    def entry(self) -> dict[str, Any]:
        """What the cache remembers."""
        return {name: value for name, value in vars(self).items() if name != "source"}

    def load(self) -> Image.Image:
        """The picture, from its source."""
        return self.source.load()


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """All distinct pictures of a data set, by name."""

    by_name: Mapping[str, CheckedPicture]
    num_known: int  # from the cache

    def at(self, image: ImageSource) -> CheckedPicture:
        """What is known of a picture."""
        try:
            return self.by_name[name_of(image)]
        except Exception as error:  # the content that it would be named by cannot be read
            return _with_problem(CheckedPicture(source=image, stamp=None), error)


def file_of(image: ImageSource) -> Path | None:
    """The file that a picture is, None for one in a table or one that is drawn."""
    if isinstance(image, Picture) and isinstance(image.content, FileBytes):
        return image.content.path
    return None


def name_of(image: ImageSource) -> str:
    """The name of a picture: its path, which costs no reading, else the hash of its content."""
    path = file_of(image)
    return image.key if path is None else os.path.abspath(path)


def named(images: Iterable[ImageSource]) -> dict[str, ImageSource]:
    """Distinct pictures by name. One that has no name is left out: `Pictures.at` gives its problem."""
    found = {}
    for image in images:
        with contextlib.suppress(Exception):
            found[name_of(image)] = image
    return found


def drawn(names: Iterable[str], *, decode: str) -> set[str]:
    """The pictures to decode, the same ones for every seed and every order of the rows."""
    ordered = [] if decode == "headers" else sorted(names)
    if decode == "auto" and len(ordered) > ALL_UP_TO:
        return {ordered[i] for i in stream(0, "preflight_decode").choice(len(ordered), size=SAMPLE, replace=False)}
    return set(ordered)


def check_pictures(distinct: Mapping[str, ImageSource], *, decode: str, cache: Cache, dataset: str) -> Pictures:
    """Each picture once, from the cache where its file has not changed since, else read anew by a few threads."""
    place = f"pictures of {dataset}, Pillow {PIL.__version__}"
    chosen, entries = drawn(distinct, decode=decode), cache.read(place)
    known: dict[str, CheckedPicture] = {}
    for name, image in distinct.items():
        entry = entries.get(name)
        if (
            entry is not None
            and entry["stamp"] == _stamp(image)
            and (entry["decoded"] or entry["problem"] or name not in chosen)
        ):
            width, height = entry["size"]
            known[name] = CheckedPicture(source=image, **{**entry, "size": (width, height)})
    new = _checked({name: image for name, image in distinct.items() if name not in known}, chosen=chosen)
    cache.add(place, {name: picture.entry for name, picture in new.items() if picture.stamp is not None})
    return Pictures(by_name=known | new, num_known=len(known))


def _stamp(image: ImageSource) -> list[int] | None:
    """What changes with a file (its size, the time of its content and of its entry) or with the limit that it is held to;
    None where there is no file, or where the picture is drawn. What is named by its content cannot change."""
    if not isinstance(image, Picture):
        return None
    path = file_of(image)
    if path is None:
        return [image.largest]
    try:
        status = path.stat()
    except OSError:
        return None
    return [image.largest, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _checked(images: Mapping[str, ImageSource], *, chosen: set[str]) -> dict[str, CheckedPicture]:
    items = list(images.items())
    found: dict[str, CheckedPicture] = {}
    with ThreadPoolExecutor(THREADS) as threads:  # decoding lets other threads run
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            pictures = threads.map(lambda item: _check(item[1], decode=item[0] in chosen), chunk)
            found |= zip((name for name, _ in chunk), pictures, strict=True)
    return found


def _check(image: ImageSource, *, decode: bool) -> CheckedPicture:
    nothing = CheckedPicture(source=image, stamp=_stamp(image))  # before reading: what is written meanwhile will not match it
    try:
        width, height = image.size  # the header first: what it refuses is not read whole
        found = replace(nothing, key=image.key, size=(width, height), decoded=decode)
        if decode:
            with _large if width * height > LARGE else contextlib.nullcontext():
                image.load()
    except Exception as error:  # a source may be anybody's
        return _with_problem(nothing, error)
    return found


def _with_problem(picture: CheckedPicture, error: Exception) -> CheckedPicture:
    image = picture.source
    path = shortened(str(getattr(error, "filename", None) or file_of(image) or ""), most=250)
    if isinstance(error, FileNotFoundError):
        content = image.content if isinstance(image, Picture) else None
        more = hint(content.path, folder=content.folder) if isinstance(content, FileBytes) else ""
        problem = f"its image {path} {GONE}{more}"
    elif isinstance(error, BadPicture):
        problem = f"its image {error} Save it again or drop the row."
    else:
        problem = f"its image {path} cannot be read ({shortened(str(error), most=150)}). Save it again or drop the row."
    return replace(picture, problem=problem, stamp=None if _may_pass(error) else picture.stamp)


def _may_pass(error: BaseException | None) -> bool:
    """Whether the machine failed and not the picture: a disk, a network, memory. Pillow's own errors have no number."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            return True
        error = error.__cause__ or error.__context__
    return False
