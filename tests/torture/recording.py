"""A command under a recorder: what a folder holds at each file operation and after each sync, and what was synced.

    python tests/torture/recording.py RECORD train.py overrides...

It runs in the folder where `outputs` is made. Python tells of an operation before it happens (an audit event), so that a
look sees what the operation before has left. Files that C++ or Rust code writes show at the next look.
"""

import hashlib
import json
import os
import runpy
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FIRST = 1 << 16  # files up to this size are always read: two writes within a tick of the clock leave the same times
ALWAYS = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
    "shutil.move",
    "shutil.copyfile",
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Recorder:
    """Looks at a folder whenever something may change in it; one JSON line for each look, contents by their hash."""

    def __init__(self, folder: Path, *, record: Path) -> None:
        self._folder, self._blobs, self._pid = folder, record / "blobs", os.getpid()
        self._blobs.mkdir(parents=True)
        self._log = (record / "looks.jsonl").open("w", encoding="utf-8")
        self._held: dict[int, int] = {}  # descriptors by inode: the number of a removed file is not given to another
        self._read: dict[tuple[int, ...], str] = {}
        self._own = threading.local()

    def start(self) -> None:
        """From now on; there is no end but that of the process."""
        self.look("start")
        sys.addaudithook(self._heard)
        for name in ("fsync", "fdatasync"):
            setattr(os, name, self._with_look(getattr(os, name), name))

    def look(self, event: str, *, about: str = "", synced: int | None = None) -> None:
        """Writes down every entry of the folder: kind, inode, hash of the content."""
        self._own.looking = True
        try:
            line = {"event": event, "about": about, "synced": synced, "entries": {"": self._entry(self._folder)}}
            line["entries"] |= {str(path.relative_to(self._folder)): self._entry(path) for path in walk(self._folder)}
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()
        finally:
            self._own.looking = False

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ALWAYS and event != "open":
            return
        if os.getpid() != self._pid or getattr(self._own, "looking", False) or sys.is_finalizing():
            return
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, str | bytes | Path) or not flags or not flags & WRITES:
                return
            if not Path(os.fsdecode(path)).absolute().is_relative_to(self._folder):
                return
        self.look(event, about=str(arguments[0]))

    def _with_look(self, sync: Callable[[int], None], name: str) -> Callable[[Any], None]:
        def synced(file: Any) -> None:
            descriptor = file if isinstance(file, int) else file.fileno()
            sync(descriptor)
            if os.getpid() == self._pid:
                self.look(name, about=os.readlink(f"/proc/self/fd/{descriptor}"), synced=os.fstat(descriptor).st_ino)

        return synced

    def _entry(self, path: Path) -> list[Any]:
        found = path.lstat()
        if found.st_ino not in self._held:
            self._held[found.st_ino] = os.open(path, os.O_PATH | os.O_NOFOLLOW)
        if stat.S_ISDIR(found.st_mode):
            return ["folder", found.st_ino, ""]
        if stat.S_ISLNK(found.st_mode):
            return ["link", found.st_ino, os.readlink(path)]
        return ["file", found.st_ino, self._hash(path, found)]

    def _hash(self, path: Path, found: os.stat_result) -> str:
        key = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if found.st_size <= FIRST or key not in self._read:
            content = path.read_bytes()
            self._read[key] = hashlib.sha256(content).hexdigest()
            blob = self._blobs / self._read[key]
            if not blob.exists():
                blob.write_bytes(content)
        return self._read[key]


def walk(folder: Path) -> Iterator[Path]:
    """Everything below a folder, folders before what they hold."""
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from walk(path)


def main() -> None:
    """The command line."""
    record, script, *arguments = sys.argv[1:]
    recorder = Recorder(Path.cwd(), record=Path(record))
    path = Path(__file__).parents[2] / script
    sys.argv = [str(path), *arguments]
    recorder.start()
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        recorder.look("end")


if __name__ == "__main__":
    main()
