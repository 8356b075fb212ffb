"""Files that are on the disk when a call returns, whole or absent; after a kill or a loss of power the old one or the new one is there."""

import contextlib
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

_TEMPORARY = re.compile(r"\..+\.(?P<host>[^.]+)\.(?P<process>\d+)\.tmp")
_HOST = re.sub(r"\W", "-", socket.gethostname())


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the path, sync, rename and sync the folder: a reader sees the old file, the new one, or none."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.tmp")
    try:
        write(temporary)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_table(path: Path, table: pa.Table) -> None:
    """A Parquet file, zstd."""
    write_whole(path, lambda file: pq.write_table(table, file, compression="zstd"))


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each synced into the one that holds it."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, *, is_shared: bool) -> None:
    """Remove temporary files of writes that were killed, in this folder and below.

    `is_shared`: other processes may write there now. Then only files of this machine's dead processes are removed.
    """
    for file in folder.rglob(".*.tmp"):
        named = _TEMPORARY.fullmatch(file.name)
        is_dead = named and named["host"] == _HOST and not psutil.pid_exists(int(named["process"]))
        if is_dead or not is_shared:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
