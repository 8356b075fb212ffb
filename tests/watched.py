"""What a piece of code opens and starts, told by Python's own audit events: reading hostile data must touch nothing else."""

import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RUN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn")
OWN = {os.path.realpath(path) for path in (*sysconfig.get_paths().values(), sys.base_prefix, *site.getsitepackages())}
PATHS = (str, bytes, os.PathLike)
_state: dict[str, Any] = {"roots": None, "seen": []}


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _state["roots"] is None:
        return
    if event in RUN:
        _state["seen"].append(f"{event} {arguments[:2]!r}")
    elif event == "open" and isinstance(arguments[0], PATHS):
        path = os.path.realpath(os.path.abspath(os.fsdecode(arguments[0]).partition("\x00")[0]))
        if not any(path == root or path.startswith(root.rstrip("/") + "/") for root in _state["roots"]):
            _state["seen"].append(f"open {path}")


sys.addaudithook(_hook)  # stays for the life of the interpreter; it is silent outside of `watched`


@contextmanager
def watched(*folders: Path) -> Iterator[list[str]]:
    """Lists what is opened outside of these folders and of Python's libraries, and everything that is run."""
    package = str(Path(__file__).parents[1] / "vlm_rl")
    _state["seen"] = seen = []
    _state["roots"] = [*OWN, package, *(os.path.realpath(folder) for folder in folders)]
    try:
        yield seen
    finally:
        _state["roots"] = None
