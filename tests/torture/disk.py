"""What a recorded folder holds after the process is killed, and after the power is lost: pure functions over looks.

On the disk is what was synced: the data of a file as of its last fsync, the names in a folder as of the last fsync of that folder.
All else may be there or not. Of the many states that this allows, those at the ends are made:

    killed   everything that was written
    gone     only what was synced
    grown    the same, but a new folder is there as soon as it is made (what ext4 and XFS do when a file in it is synced)
    cut      every name, and of the data that was not synced a half or zeros
    torn     removals that were not synced have happened, new names that were not synced are not there
"""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["killed", "gone", "grown", "cut", "torn"]
KINDS: tuple[Kind, ...] = ("killed", "gone", "grown", "cut", "torn")
LOCKS = {".lock", ".holder.json", ".evaluating"}
UNSEEN = {"train.log"}  # tells the time, nothing reads it


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file or folder: its inode and, of a file, the hash of its content, of a link, where it leads."""

    kind: Literal["file", "folder", "link"]
    inode: int
    content: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """Everything below the recorded folder, by relative path; "" is the folder itself."""

    event: str
    about: str
    synced: int | None
    entries: Mapping[str, Entry]


@dataclass(frozen=True, kw_only=True)
class State:
    """A folder to be made: bytes of files, targets of links, None for folders; by relative path."""

    kind: Kind
    look: int
    event: str
    files: Mapping[str, bytes | str | None] = field(repr=False)

    @property
    def fingerprint(self) -> int:
        """The same for states with the same names and contents; within one process, as Python's hashes of bytes."""
        return hash(frozenset((path, content) for path, content in self.files.items() if Path(path).name not in UNSEEN))

    def make(self, folder: Path) -> None:
        """Writes it into an empty folder."""
        for path, content in self.files.items():  # folders come before what they hold
            if content is None:
                (folder / path).mkdir(parents=True)
            elif isinstance(content, str):
                (folder / path).symlink_to(content)
            else:
                (folder / path).write_bytes(content)


class Record:
    """The looks of a recorded command and the contents that were seen."""

    def __init__(self, folder: Path) -> None:
        self._blobs, self._known = folder / "blobs", dict[str, bytes]()
        self.looks = [look(json.loads(line)) for line in (folder / "looks.jsonl").read_text(encoding="utf-8").splitlines()]

    def content(self, name: str) -> bytes:
        """By its hash; "" is that of a file of which nothing was synced."""
        if name not in self._known:
            self._known[name] = (self._blobs / name).read_bytes() if name else b""
        return self._known[name]


def look(line: dict[str, Any]) -> Look:
    """From its line."""
    entries = {path: Entry(kind=kind, inode=inode, content=content) for path, (kind, inode, content) in line["entries"].items()}
    return Look(event=line["event"], about=line["about"], synced=line["synced"], entries=entries)


class Disk:
    """What is on the disk for certain, look after look."""

    def __init__(self, first: Look) -> None:
        self._data: dict[int, str] = {}
        self._names: dict[int, dict[str, Entry]] = {}
        self.grown: set[int] = set()  # folders that were made since
        for path, entry in first.entries.items():
            self._sync(path, entry, first)

    def see(self, now: Look) -> None:
        """One look more."""
        for path, entry in now.entries.items():
            if entry.kind == "folder" and entry.inode not in self._names:
                self._names[entry.inode] = {}
                self.grown.add(entry.inode)
            if entry.inode == now.synced:
                self._sync(path, entry, now)

    def _sync(self, path: str, entry: Entry, now: Look) -> None:
        if entry.kind == "folder":
            self._names[entry.inode] = children(path, now)
        else:
            self._data[entry.inode] = entry.content

    def data(self, entry: Entry) -> str:
        """The hash of what is certain of a file; of a link it is where it leads."""
        return entry.content if entry.kind == "link" else self._data.get(entry.inode, "")

    def names(self, inode: int) -> dict[str, Entry]:
        """What is certainly in a folder."""
        return self._names.get(inode, {})


def children(folder: str, now: Look) -> dict[str, Entry]:
    """The entries right below a folder, by name."""
    below = f"{folder}/" if folder else ""
    inside = {path.removeprefix(below): entry for path, entry in now.entries.items() if path and path.startswith(below)}
    return {name: entry for name, entry in inside.items() if "/" not in name}


def states(record: Record) -> Iterator[State]:
    """Every state of every kind, in the order of the looks."""
    disk = Disk(record.looks[0])
    for number, now in enumerate(record.looks):
        disk.see(now)
        for kind in KINDS:
            files = {path: _bytes(record, disk, entry, kind=kind, number=number) for path, entry in found(disk, now, kind=kind)}
            yield State(kind=kind, look=number, event=f"{now.event} {now.about}".strip(), files=files)


def found(disk: Disk, now: Look, *, kind: Kind) -> Iterator[tuple[str, Entry]]:
    """The paths that are there, folders before what they hold."""

    def below(path: str, inode: int) -> Iterator[tuple[str, Entry]]:
        for name, entry in sorted(named(inode, children(path, now) if path in now.entries else {}).items()):
            place = f"{path}/{name}" if path else name
            yield place, entry
            if entry.kind == "folder":
                yield from below(place, entry.inode)

    named: Callable[[int, dict[str, Entry]], dict[str, Entry]] = {
        "killed": lambda inode, current: current,
        "cut": lambda inode, current: current,
        "gone": lambda inode, current: disk.names(inode),
        "grown": lambda inode, current: {**_new_folders(disk, current), **disk.names(inode)},
        "torn": lambda inode, current: {
            name: current[name]
            for name, entry in disk.names(inode).items()
            if name in current and current[name].inode == entry.inode
        },
    }[kind]
    return below("", now.entries[""].inode)


def _new_folders(disk: Disk, current: dict[str, Entry]) -> dict[str, Entry]:
    return {name: entry for name, entry in current.items() if entry.inode in disk.grown}


def _bytes(record: Record, disk: Disk, entry: Entry, *, kind: Kind, number: int) -> bytes | str | None:
    if entry.kind != "file":
        return None if entry.kind == "folder" else entry.content
    certain = record.content(disk.data(entry))
    if kind in ("gone", "grown"):
        return certain
    written = record.content(entry.content)
    return written if kind == "killed" else spoilt(written, certain=certain, zeros=number % 2 == 1)


def lost_checkpoints(record: Record) -> list[str]:
    """Where a power loss takes a checkpoint although the folder that names it was synced: a folder above it was not."""
    disk, lost = Disk(record.looks[0]), dict[str, str]()
    for number, now in enumerate(record.looks):
        disk.see(now)
        there = {path for path, _ in found(disk, now, kind="gone")}
        for folder, entry in now.entries.items():
            named = [name for name in disk.names(entry.inode) if is_checkpoint(f"{folder}/{name}")]
            newest = f"{folder}/{max(named, default='')}"
            if named and newest not in there:
                lost.setdefault(newest, f"{newest} is lost at look {number} ({now.event} {now.about})")
    return list(lost.values())


def is_checkpoint(path: str) -> bool:
    """Whether a path is that of a whole checkpoint."""
    return re.search(r"/checkpoints/step-\d+$", path) is not None


def not_synced(record: Record) -> list[str]:
    """The files that a power loss after the end takes or cuts."""
    disk = Disk(record.looks[0])
    for now in record.looks:
        disk.see(now)
    last = record.looks[-1]
    there = {path: disk.data(entry) for path, entry in found(disk, last, kind="gone")}
    wanted = {path: entry.content for path, entry in last.entries.items() if entry.kind == "file"}
    return [path for path in wanted if Path(path).name not in UNSEEN | LOCKS and there.get(path) != wanted[path]]


@functools.cache  # the same object each time: its hash is computed once
def spoilt(written: bytes, *, certain: bytes, zeros: bool) -> bytes:
    """What was written, with a half or zeros in place of what was not synced."""
    if written == certain:
        return written
    safe = len(certain) if written.startswith(certain) else 0
    rest = written[safe:]
    return written[:safe] + (b"\0" * len(rest) if zeros else rest[: len(rest) // 2])
