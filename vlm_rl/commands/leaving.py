"""How a process of a command ends at once: on a second Ctrl-C, or because the process that started it is gone.

Nothing is tidied up: what is on the disk is whole at any moment, and processes that were started watch the one that started them.
Imports little: `train.py` listens before the libraries are loaded.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130  # as a shell has it: 128 + SIGINT
STOPPED = "Stopped at once. The same command goes on from the last checkpoint."
TYPED_BY = "VLM_RL_TYPED_BY"  # process id of the command that a person typed, handed on to all that it starts
SHOW_CURSOR = b"\x1b[?25h"  # which the bar has hidden
POLL_S = 0.5
terminal: int | None = None  # where stderr led before it was led to the log of a rank
_interruptions: list[int] = []  # signals of this process that asked for an end
ended_with_it: list[Callable[[], object]] = []  # what ends the processes that would otherwise tell of our end
_listens: list[bool] = []
_told: list[bool] = []
_is_at_work = threading.Event()
_watched: set[int] = set()  # joblib gives a process one job after another


def leave_at_once(why: str, *, then: Callable[[], object] | None = None, code: int = 1) -> NoReturn:
    """From any thread: a main thread that hangs in a collective hears nothing. Other runs of a sweep end with this process."""
    say(f"\nError: {why}\n")
    if then is not None:
        then()
    os._exit(code)


def say(text: str) -> None:
    """On stderr, where a person sees it, and in the log of this rank."""
    print(text, file=sys.stderr, end="", flush=True)
    if terminal is not None:
        os.write(terminal, text.encode(errors="backslashreplace"))


def is_first_rank() -> bool:
    """By the variables of whoever started the ranks: long before they are a group."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def stop_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """A signal handler: an exception would be caught, or printed, by whatever library it comes up in."""
    signal.signal(number, signal.SIG_IGN)  # said once, however often it is typed
    try:
        with contextlib.suppress(Exception):  # in the middle of a print
            sys.stdout.flush()
        tell_the_stop()
        for end in ended_with_it:
            end()
    finally:
        os._exit(INTERRUPTED)


def tell_the_stop() -> None:
    """Once for a process, and by one process of a command: the one that was typed, of ranks the first."""
    if _told or not is_first_rank() or os.environ.get(TYPED_BY, str(os.getpid())) != str(os.getpid()):
        return
    _told.append(True)
    if sys.stdout.isatty():
        os.write(1, SHOW_CURSOR)
    os.write(2, f"\nError: {STOPPED}\n".encode())  # not by print, in the middle of which a signal may come


def leave_interrupted() -> NoReturn:
    """After what ran was left by an exception."""
    tell_the_stop()
    sys.exit(INTERRUPTED)


def stop(number: int, frame: FrameType | None) -> None:
    """The handler outside of a run, where jobs of a sweep may be out in other processes: first tidied up, then at once."""
    if _interruptions:
        stop_at_once(number, frame)
    _interruptions.append(number)
    raise KeyboardInterrupt


def was_interrupted() -> bool:
    """Whether Ctrl-C has been heard: libraries make other errors of it."""
    return bool(_interruptions)


def listen(handler: Callable[[int, FrameType | None], object]) -> None:
    """Have Ctrl-C handled, unless it is ignored, as in the background of a script. At its very end Python would hand it to the system."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
        if not _listens:
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # registered first, so done last
            _listens.append(True)
        if _interruptions:  # a library has swallowed the exception
            handler(signal.SIGINT, None)


def watch(pid: int, *, then: Callable[[], object]) -> None:
    """Call `then` from a thread as soon as the process `pid` above this one is gone, even if nobody has asked for its exit code."""
    import psutil

    above = next((process for process in psutil.Process().parents() if process.pid == pid), None)  # None: gone already

    def is_gone() -> bool:
        try:
            return above is None or not above.is_running() or above.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def look() -> None:
        while not is_gone():
            time.sleep(POLL_S)
        then()

    threading.Thread(target=look, daemon=True).start()


@contextlib.contextmanager
def job_of_the_typed() -> Iterator[None]:
    """A job of a sweep that has a process of its own on this machine: it ends with the command that a person typed."""
    typed = int(os.environ.get(TYPED_BY, os.getpid()))
    if typed != os.getpid() and typed not in _watched:
        _watched.add(typed)
        watch(typed, then=_leave_the_sweep)
    _is_at_work.set()
    try:
        yield
    finally:
        _is_at_work.clear()


def _leave_the_sweep() -> None:
    if _is_at_work.is_set():
        leave_at_once("The command of this sweep is gone, so this job ends. The same command goes on from the last checkpoint.")
    os._exit(1)  # it waited for another job
