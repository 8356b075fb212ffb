"""Files of rows as they are opened: regular ones only. A pipe would wait for its writer, and a device has no end."""

import os
import stat
from io import BufferedReader
from pathlib import Path


def open_rows(path: Path) -> BufferedReader:
    """The bytes of a file of rows. Raises ValueError for what is no regular file."""
    check_regular(path)
    return open(path, "rb", opener=_at_once)


def check_regular(path: Path) -> None:
    """Raises ValueError for a folder, a pipe or a device; what is not there is for others to say."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        what = "a folder" if path.is_dir() else "a pipe, a device or the like"
        raise ValueError(f"{path} is no file of rows but {what}. Put a regular file there, or name another one.")


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
