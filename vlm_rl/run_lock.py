"""One process trains into a run folder at a time: a file lock, which ends with its process, and beside it who holds it.

Some network file systems give a lock to each machine. So the holder also touches its file every few seconds, and a process that gets
the lock on another machine looks whether that goes on.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from vlm_rl.durable_files import write_whole
from vlm_rl.run_folder import check_link

LOCK, HOLDER = ".lock", ".holder.json"  # in the run folder; no records: a copy of a run does not need them
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # the same in all containers of a machine, where file locks hold between them
BEAT_S = 10.0
PATIENCE_S = 45.0  # for the next beat of a holder on another machine
POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that trains into a folder."""

    machine: str
    host: str
    pid: int
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({self.command})"


def this_process(command: str) -> Holder:
    """The holder that this process would be."""
    host = socket.gethostname()
    machine = BOOT_ID.read_text().strip() if BOOT_ID.exists() else f"{host} {uuid.getnode():x}"
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return Holder(machine=machine, host=host, pid=os.getpid(), since=since, command=command)


@contextlib.contextmanager
def held(folder: Path, *, command: str, lost: Callable[[str], object]) -> Iterator[None]:
    """Hold the lock of a run folder. Raises ValueError naming the process that holds it.

    `lost`: called from a thread where another machine has taken the folder over, because this process stood still too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (LOCK, HOLDER):
        check_link(folder / name, inside=folder)
    lock, own = FileLock(folder / LOCK), this_process(command)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ValueError(refusal(folder, holder_in(folder))) from None
    except OSError as error:
        raise ValueError(
            f"{folder / LOCK} cannot be locked ({error}). Make that folder writable, or train into another."
        ) from None
    try:
        _check_other_machine(folder, own=own)
        with _beating(folder, own=own, lost=lost):
            yield
    finally:
        lock.release()


def holder_in(folder: Path) -> Holder | None:
    """Who says that it trains into a folder; None where nobody does, or the file is damaged: only the lock counts then."""
    try:
        return Holder(**json.loads((folder / HOLDER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def refusal(folder: Path, holder: Holder | None) -> str:
    """Why a second process does not train, and what to do."""
    who = str(holder) if holder else "another process, which has not written who it is"
    stop = f"`kill -INT {holder.pid}` on {holder.host}" if holder else "Ctrl-C"
    return (
        f"{folder} is being trained by {who}. Two processes would mix their records, so this one does nothing. "
        f"Wait for it, or stop it there ({stop}: it writes a checkpoint first) and type this command again. "
        f"If you are certain that it is gone, remove {folder / LOCK} and {folder / HOLDER}."
    )


def _check_other_machine(folder: Path, *, own: Holder) -> None:
    """Raise ValueError where the holder on another machine still beats; that on this one is gone, as its lock is."""
    holder = holder_in(folder)
    if holder is None or holder.machine == own.machine:
        return
    print(f"{folder} was held by {holder}. Looking up to {PATIENCE_S:.0f} s whether it still trains.", flush=True)
    beat, deadline = _beat_of(folder), time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        time.sleep(POLL_S)
        if (now := _beat_of(folder)) is None:
            break
        if now != beat:
            raise ValueError(refusal(folder, holder))
    print(f"It does not. This process takes {folder} over.", flush=True)


def _beat_of(folder: Path) -> int | None:
    """When the holder last touched its file, None without one. Opened anew: NFS asks its server then."""
    try:
        with (folder / HOLDER).open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None


@contextlib.contextmanager
def _beating(folder: Path, *, own: Holder, lost: Callable[[str], object]) -> Iterator[None]:
    """Say who holds the folder, and touch that every few seconds until the end."""
    is_over = threading.Event()

    def write() -> None:
        write_whole(folder / HOLDER, lambda file: file.write_text(json.dumps(asdict(own)), encoding="utf-8"))

    def beat() -> None:
        while not is_over.wait(BEAT_S):
            with contextlib.suppress(OSError):  # a full disk, a server that does not answer: the next beat may come
                holder = holder_in(folder)
                if holder is not None and holder != own:
                    lost(f"{folder} was taken over by {holder}, while this process stood still. It goes on there.")
                if holder is None:
                    write()
                os.utime(folder / HOLDER)

    write()
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(POLL_S)
        if holder_in(folder) == own:
            (folder / HOLDER).unlink(missing_ok=True)
