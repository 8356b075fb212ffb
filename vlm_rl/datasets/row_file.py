"""Open files of rows. Only regular files are read: a pipe waits for its writer, and a device has no end."""

import os
import stat
from io import BufferedReader
from pathlib import Path

POINTERS = {  # start of a file whose content is elsewhere -> what it is, and the command that fetches the content
    b"version https://git-lfs.github.com/spec/v1": ("Git LFS", "git lfs pull"),
    b"# xet version": ("Git Xet", "git xet pull"),
    b"/annex/objects/": ("git-annex", "git annex get ."),
}
LONGEST_MARK = max(map(len, POINTERS))


def pointer_message(head: bytes) -> str:
    """The message about a file that only points to its content, by its first bytes; empty for any other file."""
    found = next((kind for mark, kind in POINTERS.items() if head.startswith(mark)), None)
    return "" if found is None else f"it is a pointer of {found[0]} and not the file itself; run `{found[1]}` in its repository"


def open_rows(path: Path) -> BufferedReader:
    """The bytes of a file of rows. Raises ValueError for what is no regular file."""
    check_regular(path)
    return open(path, "rb", opener=at_once)


def check_regular(path: Path) -> None:
    """Raise ValueError for a folder, a pipe, a device or a pointer. A missing file is left to the caller."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        what = "a folder" if path.is_dir() else "a pipe, a device or the like"
        raise ValueError(f"{path} is no file of rows but {what}. Put a regular file there, or name another one.")
    if path.is_file():
        with open(path, "rb", opener=at_once) as file:
            message = pointer_message(file.read(LONGEST_MARK))
        if message:
            raise ValueError(f"{path} holds no rows: {message}.")


def at_once(path: str, flags: int) -> int:
    """An opener that does not wait for the writer of a named pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
