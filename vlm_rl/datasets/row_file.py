"""Files of rows as they are opened: regular ones only. A pipe would wait for its writer, and a device has no end."""

import os
import stat
from io import BufferedReader
from pathlib import Path

POINTERS = {  # what stands in a file whose content is elsewhere: what it is, and how the content is fetched
    b"version https://git-lfs.github.com/spec/v1": ("Git LFS", "git lfs pull"),
    b"# xet version": ("Git Xet", "git xet pull"),
    b"/annex/objects/": ("git-annex", "git annex get ."),
}
LONGEST_MARK = max(map(len, POINTERS))


def pointer_told(head: bytes) -> str:
    """What a file is that begins so and only points to its content; empty for any other."""
    found = next((told for mark, told in POINTERS.items() if head.startswith(mark)), None)
    return "" if found is None else f"it is a pointer of {found[0]} and not the file itself; run `{found[1]}` in its repository"


def open_rows(path: Path) -> BufferedReader:
    """The bytes of a file of rows. Raises ValueError for what is no regular file."""
    check_regular(path)
    return open(path, "rb", opener=at_once)


def check_regular(path: Path) -> None:
    """Raises ValueError for a folder, a pipe or a device; what is not there is for others to say."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        what = "a folder" if path.is_dir() else "a pipe, a device or the like"
        raise ValueError(f"{path} is no file of rows but {what}. Put a regular file there, or name another one.")
    if path.is_file():
        with open(path, "rb", opener=at_once) as file:
            told = pointer_told(file.read(LONGEST_MARK))
        if told:
            raise ValueError(f"{path} holds no rows: {told}.")


def at_once(path: str, flags: int) -> int:
    """An opener: a named pipe would wait for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
