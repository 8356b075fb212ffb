"""Stand-in servers for tests: in a thread of the test, or as a process of its own that can be killed."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import uvicorn
from forking import Command, Forking
from stand_in import StandIn

PATIENCE_S = 120.0


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_for(url: str) -> None:
    """Until a server is healthy."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return
        time.sleep(0.05)
    raise TimeoutError(url)


@contextlib.contextmanager
def in_thread(app: StandIn, *, port: int | None = None) -> Iterator[str]:
    """The address of an application that is served meanwhile; at the end connections are cut, as a kill does."""
    port = port or free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", timeout_graceful_shutdown=0))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(f"http://127.0.0.1:{port}")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


class ServerProcess:
    """A stand-in that runs by itself."""

    def __init__(self, forking: Forking, *words: str, cwd: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.command: Command = forking.start("tests/rollout/stand_in.py", ["--port", str(self.port), *words], cwd=cwd)

    def wait(self) -> "ServerProcess":
        """Until it answers."""
        wait_for(self.url)
        return self

    def set_faults(self, **faults: float) -> None:
        """From now on."""
        httpx.post(f"{self.url}/faults", json=faults, timeout=30)

    def kill(self) -> None:
        """At once."""
        self.command.send(9)
        self.command.wait_until(lambda: False)
