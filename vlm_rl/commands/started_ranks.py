"""The processes of the other ranks, which the first rank starts and watches; they watch the first rank."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

from torch._C._distributed_c10d import TCPStore

from vlm_rl.commands import rank_logs
from vlm_rl.commands.leaving import ended_with_it, leave_at_once, watch

PARENT = "VLM_RL_FIRST_RANK"  # process id, in the environment of the ranks that it started
FINE = (None, 0, 130)  # exit codes: still running, done, stopped by a signal after its step
PATIENCE_S = 20.0  # for a collective to notice by itself that a rank is gone
ENDING_S = 5.0  # between a polite signal and the other one
LEAVING_S = 300.0  # for a rank to end after its work
POLL_S = 1.0


class StartedRanks:
    """A process for each other rank, and a thread that watches them: a collective may hang for ever where one has died."""

    def __init__(self, again: Sequence[str], *, count: int, port: int) -> None:
        command, environment = [sys.executable, *again], {**os.environ, PARENT: str(os.getpid())}
        self._store = TCPStore("127.0.0.1", port, wait_for_workers=False)  # of our own: one that waits answers nobody else
        self._is_over = threading.Event()
        self._processes = {
            rank: subprocess.Popen(
                command,
                env=environment | {"LOCAL_RANK": str(rank)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the first rank speaks for all; errors go to stderr
            )
            for rank in range(1, count + 1)
        }
        ended_with_it.append(self._kill)
        threading.Thread(target=self._watch, daemon=True).start()

    def lost(self, *, within_s: float) -> str | None:
        """Which rank ended before its time, in words."""
        deadline = time.monotonic() + within_s
        while (found := self._lost()) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def end(self) -> None:
        """End the processes by SIGTERM, after some seconds by SIGKILL."""
        for process in self._processes.values():
            process.terminate()
        self._wait(ENDING_S)
        self._kill()
        for process in self._processes.values():
            process.wait()

    def _kill(self) -> None:
        for process in self._processes.values():
            process.kill()

    def leave(self) -> None:
        """Wait until all have ended, and stop watching."""
        self._wait(LEAVING_S)
        self._is_over.set()
        self.end()
        ended_with_it.remove(self._kill)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(process.poll() is None for process in self._processes.values()) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _lost(self) -> str | None:
        for rank, process in self._processes.items():
            code = process.poll()
            if code not in FINE and not self._store.check([done_key(rank)]):
                assert code is not None
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                last = rank_logs.last_words(rank)
                return f"Rank {rank} {how}, so this run cannot go on. The same command goes on from the last checkpoint.{last}"
        return None

    def _watch(self) -> None:
        while not self._is_over.wait(POLL_S):
            lost = self._lost()
            if lost is not None and not self._is_over.wait(PATIENCE_S):
                leave_at_once(lost, then=self.end)


def done_key(rank: int) -> str:
    """What a started rank sets in the store after its work: however its process then ends, nothing is lost."""
    return f"vlm_rl/done/{rank}"


def watch_the_first() -> None:
    """In a started rank: without the first one, which may have been killed, it would wait in a collective for ever."""
    why = "The first rank is gone, so this run cannot go on. The same command goes on from the last checkpoint."

    def leave() -> NoReturn:
        if os.environ["LOCAL_RANK"] == "1":
            leave_at_once(why + rank_logs.last_words(0))
        os._exit(1)

    watch(int(os.environ[PARENT]), then=leave)
