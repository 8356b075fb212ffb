"""What was made of unchanged files and numbers, kept from one making of a report to the next, so that `report.py watch=60` is quick.

There is one memory, and it is on within `Memory.making()` only: everywhere else `recall` just makes. A key is all that a result depends on,
by its value, so that what is recalled is what would be made. A file counts by its path, size, times and inode: one whose content changes
and leaves all of these as they were is not noticed.
"""

import hashlib
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Made = TypeVar("Made")
Stamp = tuple[str, int, int, int]  # path, size, time of the last change in ns, inode

_active: list["Memory"] = []  # at most one, seen by all threads that read side by side


class Memory:
    """Results by the digest of their keys."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Any] = {}
        self._used: dict[bytes, Any] = {}

    @contextmanager
    def making(self) -> Iterator[None]:
        """Within, `recall` keeps and recalls. What a whole making did not ask for is forgotten."""
        self._used = {}
        _active.append(self)
        try:
            yield
            self._kept = self._used
        except BaseException:
            self._kept |= self._used  # of a making that failed, too: the next one begins with it
            raise
        finally:
            _active.remove(self)

    def recall(self, key: bytes, *, make: Callable[[], Made]) -> Made:
        """The result under a key, made where it is not known."""
        known = self._used if key in self._used else self._kept
        found: Made = known[key] if key in known else make()
        self._used[key] = found
        return found


def recall(*key: Any, make: Callable[[], Made]) -> Made:
    """`make()`, or what it returned for an equal key in this making or the last one; a key that has no bytes is never recalled."""
    if not _active:
        return make()
    try:
        digest = hashlib.blake2b(pickle.dumps(key, protocol=5), digest_size=20).digest()
    except (pickle.PicklingError, TypeError, AttributeError):
        return make()
    return _active[-1].recall(digest, make=make)


def stamps_of(files: Iterable[Path]) -> tuple[Stamp, ...]:
    """What tells whether these files are still the same; a file that is gone has no size."""
    return tuple(map(stamp_of, files))


def stamp_of(file: Path) -> Stamp:
    """Of the file itself, not of what a link leads to."""
    try:
        status = os.lstat(file)
    except OSError:
        return str(file), -1, 0, 0
    return str(file), status.st_size, status.st_mtime_ns, status.st_ino


def stamps_under(folder: Path, *, without: Iterable[str] = ()) -> tuple[Stamp, ...]:
    """Of every file in a folder and below, in the order of their paths; links are not followed, names in `without` are left out."""
    left_out, found = set(without), list[Stamp]()
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in left_out)
        found += (stamp_of(Path(place, name)) for name in sorted(files) if name not in left_out)
    return tuple(found)
