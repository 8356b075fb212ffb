"""How ranks that others started (torchrun, SLURM) hear that one of them has died, on whatever machine: a collective may never say so.

Each rank holds a connection to a hub in the first rank's process. The system closes it when a process dies, and keep-alive packets find
a machine that is gone: nothing beats, and a rank that computes for hours is not taken for dead. The backends of torch play no part.
"""

import atexit
import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from torch._C._distributed_c10d import Store

KEY = "vlm_rl/lifeline"  # in the store of the group: where the hub is
KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}  # silent for 30 s: gone
HELLO_S = 30.0  # for a connection to be made, and to say who it is
GATHERING_S = 2.0  # from the first sign of a death to the word to all: that of the rank to blame may come second
WORD_S = 10.0  # for that word to come to a rank whose collective has failed
PATIENCE_S = 10.0  # after it, for a rank to leave by itself
MOST_BYTES = 65536  # of a message
GONE = "ended without a word: it was killed (as by the system where memory runs out), it crashed, or its machine is gone"
Message = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A rank that failed or died."""

    rank: int
    what: str  # after "Rank 3"
    blames_another: bool = False  # its collective failed


class Hub:
    """In the first rank's process: hears who is lost first, and tells all ranks."""

    def __init__(self, *, num_ranks: int) -> None:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        self._listening = socket.create_server(("", 0), family=family, dualstack_ipv6=both, backlog=num_ranks)
        self.port, self.token = self._listening.getsockname()[1], secrets.token_hex(16)
        self._num_ranks, self._lock = num_ranks, threading.Lock()
        self._connections: dict[int, socket.socket] = {}
        self._lost: list[Lost] = []
        self._told: list[Message] = []
        _in_background(self._accept)

    def missing(self) -> list[int]:
        """Ranks that have not come."""
        return sorted(set(range(self._num_ranks)) - self._connections.keys())

    def tell(self, message: Message) -> None:
        """To all ranks, those that come later too."""
        with self._lock:
            self._told.append(message)
            for connection in self._connections.values():
                _send(connection, message)

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            connection.settimeout(HELLO_S)
            _in_background(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        messages = _messages(connection)
        hello = next(messages, {})
        if hello.get("token") != self.token:
            connection.close()
            return
        _keep_alive(connection)
        with self._lock:
            self._connections[hello["rank"]] = connection
            for message in self._told:
                _send(connection, message)
            are_all = not self.missing()
        if are_all:
            self.tell({"are_all": True})
        last = next(messages, {"lost": {"rank": hello["rank"], "what": f"(process {hello['pid']} on {hello['host']}) {GONE}"}})
        if "lost" in last:
            self._hear(Lost(**last["lost"]))

    def _hear(self, lost: Lost) -> None:
        with self._lock:
            self._lost.append(lost)
            is_first = len(self._lost) == 1
        if is_first:
            time.sleep(GATHERING_S)
            self.tell({"lost": asdict(min(self._lost, key=lambda heard: heard.blames_another))})


class Lifeline:
    """A rank's connection to the hub. Where it breaks, the first rank is lost."""

    def __init__(self, connection: socket.socket, *, rank: int, token: str, leave: Callable[[Lost], object]) -> None:
        self.lost: Lost | None = None
        self.is_at_work = False
        self.are_all, self._is_lost, self._is_over = threading.Event(), threading.Event(), threading.Event()
        self._rank, self._leave, self._connection = rank, leave, connection
        _keep_alive(connection)
        _send(connection, {"token": token, "rank": rank, "pid": os.getpid(), "host": socket.gethostname()})
        _in_background(self._listen)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """A process that ends in here is lost, unless it exits."""
        self.is_at_work = True
        try:
            yield
        except SystemExit:
            self.is_at_work = False
            raise
        self.is_at_work = False

    def failed(self, what: str, *, blames_another: bool) -> Lost | None:
        """Tell that this rank fails. Returns who was the first; None where nobody says so in time."""
        _send(self._connection, {"lost": asdict(Lost(rank=self._rank, what=what, blames_another=blames_another))})
        self._is_lost.wait(WORD_S)
        return self.lost

    def done(self) -> None:
        """The work of this rank is done: its end is no loss."""
        self._is_over.set()
        _send(self._connection, {"done": True})

    def _listen(self) -> None:
        lost = Lost(rank=0, what=GONE)
        for message in _messages(self._connection):
            if "are_all" in message:
                self.are_all.set()
            elif "lost" in message:
                lost = Lost(**message["lost"])
                break
            else:
                return  # the first rank's work is done
        self.lost = lost
        self._is_lost.set()
        if not self._is_over.wait(PATIENCE_S):
            self._leave(lost)


def held(store: Store, *, rank: int, num_ranks: int, limit: timedelta, leave: Callable[[Lost], object]) -> Lifeline:
    """A lifeline of all ranks, on each of which `leave` is called where one is lost. Raises ValueError where one does not come."""
    hub = Hub(num_ranks=num_ranks) if rank == 0 else None
    if hub is not None:
        store.set(KEY, json.dumps([hub.port, hub.token]))
    port, token = json.loads(store.get(KEY))
    connection = socket.create_connection((os.environ["MASTER_ADDR"], port), timeout=HELLO_S)
    line = Lifeline(connection, rank=rank, token=token, leave=leave)
    if not line.are_all.wait(limit.total_seconds()):
        who = f" Missing: {', '.join(map(str, hub.missing()))}." if hub is not None else ""
        raise ValueError(f"Not all {num_ranks} ranks of this run came within {limit}.{who} Look at what their machines say.")
    atexit.register(_end, line, hub)
    return line


def _end(line: Lifeline, hub: Hub | None) -> None:
    if line.is_at_work:
        return
    if hub is not None:
        hub.tell({"done": True})
    line.done()


def _keep_alive(connection: socket.socket) -> None:
    """Have the systems of both machines ask each other whether they are there; how often can be said on Linux."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEP_ALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _send(connection: socket.socket, message: Message) -> None:
    """Where the other side is gone, who listens to it hears so."""
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")


def _messages(connection: socket.socket) -> Iterator[Message]:
    """What the other side says until it is gone."""
    with contextlib.suppress(OSError, ValueError), connection.makefile("rb") as file:
        while line := file.readline(MOST_BYTES):
            message = json.loads(line)
            yield message if isinstance(message, dict) else {}


def _in_background(work: Callable[[], object]) -> None:
    threading.Thread(target=work, daemon=True).start()
