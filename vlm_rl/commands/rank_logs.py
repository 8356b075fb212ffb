"""`ranks/rank-0003.log` in a run's folder: what each of several ranks says, one start after the other.

Of all ranks but the first, stdout and stderr lead there as file descriptors, so that lines of libraries below Python (NCCL, a crash) are
caught. The first rank speaks where the command was typed, and what Python writes there is copied.
"""

import contextlib
import faulthandler
import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from vlm_rl import ranks
from vlm_rl.commands import leaving
from vlm_rl.durable_files import make_folder
from vlm_rl.run_folder import check_link
from vlm_rl.run_lock import this_process

FOLDER = "ranks"
MOST_BYTES = 8 * 2**20  # of a log; then it becomes rank-0003.old.log, and a new one begins
NEWS_S = 60.0  # for a network file system to show what another machine has written
LOOK_S = 5.0  # between two looks at its size
QUOTED_LINES, QUOTED_BYTES = 12, 4096  # of the log of a rank that died
START = "=== "  # begins the line of a start
COLOUR = re.compile(r"\x1b\[[\d;]*m")
REDRAWN = re.compile(r"[\r\x1b]")  # of a bar, once colours are out
_runs: list[Path] = []  # the folder of the last run that this process wrote logs for


def log_of(folder: Path, rank: int) -> Path:
    """The log of a rank in a run's folder."""
    return folder / FOLDER / f"rank-{rank:04d}.log"


def last_words(rank: int) -> str:
    """Where the log of a rank of this run is, and its last lines; empty before there are logs."""
    if not _runs:
        return ""
    file = log_of(_runs[-1], rank)
    of_last_start = _tail(file).rpartition(f"\n{START}")[2]
    lines = of_last_start.splitlines()[1:][-QUOTED_LINES:]
    return f" Its log is {file}" + (", and ends:\n  " + "\n  ".join(lines) if lines else ", and says nothing.")


def _tail(file: Path) -> str:
    with contextlib.suppress(OSError), file.open("rb") as opened:
        opened.seek(max(0, os.fstat(opened.fileno()).st_size - QUOTED_BYTES))
        return opened.read().decode(errors="replace")
    return ""


@contextlib.contextmanager
def written(folder: Path, *, command: str) -> Iterator[None]:
    """Keep a log of each rank in a run's folder; a single rank needs none. Every rank must call this."""
    if ranks.num_ranks() == 1:
        yield
        return
    folder, rank = folder.absolute(), ranks.rank()
    make_folder(folder / FOLDER)
    ranks.together(lambda: check_places(folder, rank=rank), fails=ValueError)
    file = log_of(folder, rank)
    _runs[:] = [folder]
    descriptor, is_over = _opened(file), threading.Event()
    own = this_process(command)
    start = f"{START}{own.since} rank {rank} of {ranks.num_ranks()}, process {own.pid} on {own.host}: {command}\n"
    _write(descriptor, f"\n{start}")
    leads = (descriptor,) if rank == 0 else (descriptor, 1, 2)
    watching = threading.Thread(target=_keep_small, args=(file, leads, is_over), daemon=True)
    watching.start()
    try:
        first = ranks.from_first(start)
        ranks.together(lambda: _check_shared(folder, of_first=first), fails=ValueError)
        with _copied(descriptor) if rank == 0 else _led_to(descriptor):
            yield
        _write(descriptor, "Ended.\n")
    except SystemExit as end:
        _write(descriptor, f"Ended with exit code {end.code}.\n")
        raise
    except BaseException as error:
        _write(descriptor, "".join(traceback.format_exception(error)))
        raise
    finally:
        is_over.set()
        watching.join()
        os.close(descriptor)


def check_places(folder: Path, *, rank: int) -> None:
    """Raise ValueError where a link leads out of the run's folder: nothing is written there."""
    file = log_of(folder, rank)
    for each in (file.parent, file, _old(file)):
        check_link(each, inside=folder)


def _check_shared(folder: Path, *, of_first: str) -> None:
    """Raise ValueError where this machine does not see what the first rank wrote."""
    file, deadline = log_of(folder, 0), time.monotonic() + NEWS_S
    while of_first not in _tail(file):
        if time.monotonic() > deadline:
            raise ValueError(
                f"{folder} on {socket.gethostname()} is not the folder that the first rank writes to: {file} lacks its last start. "
                "All machines of a run need one file system that holds its outputs. Start the command in a folder there."
            )
        time.sleep(0.2)


@contextlib.contextmanager
def _led_to(descriptor: int) -> Iterator[None]:
    """Have this process write its stdout and stderr there, C libraries included."""
    _flush()
    before = {number: os.dup(number) for number in (1, 2)}
    for number in before:
        os.dup2(descriptor, number)
    crashes_before = faulthandler.is_enabled()
    faulthandler.enable(2)
    leaving.terminal = before[2]
    out, err = (os.fdopen(n, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False) for n in (1, 2))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    finally:
        _flush()
        leaving.terminal = None
        if not crashes_before:
            faulthandler.disable()
        for number, place in before.items():
            os.dup2(place, number)
            os.close(place)


@contextlib.contextmanager
def _copied(descriptor: int) -> Iterator[None]:
    """Have this process write its stdout and stderr there too, but for what is drawn again and again."""
    out, err = (cast(IO[str], _Copied(stream, descriptor)) for stream in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


class _Copied:
    """A stream, and a log beside it."""

    def __init__(self, stream: Any, descriptor: int) -> None:
        self._stream, self._descriptor = stream, descriptor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if not REDRAWN.search(plain := COLOUR.sub("", text)):
            _write(self._descriptor, plain)
        return int(self._stream.write(text))


def _keep_small(file: Path, leads: tuple[int, ...], is_over: threading.Event) -> None:
    """Begin a new log where this one has grown large: all descriptors that lead to it then lead to the new one."""
    while not is_over.wait(LOOK_S):
        with contextlib.suppress(OSError):
            if os.fstat(leads[0]).st_size > MOST_BYTES:
                file.replace(_old(file))
                fresh = _opened(file)
                for number in leads:
                    os.dup2(fresh, number, inheritable=number in (1, 2))
                os.close(fresh)


def _old(file: Path) -> Path:
    return file.with_suffix(".old.log")


def _opened(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def _write(descriptor: int, text: str) -> None:
    """A full disk must not end a run here: what a run cannot do without is written elsewhere."""
    with contextlib.suppress(OSError):
        os.write(descriptor, text.encode(errors="backslashreplace"))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
