"""Processes of a judge, and of programs that have one."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from vlm_rl.rewards.judge import Judge

REPOSITORY = Path(__file__).parents[2]


def worker_of(judge: Judge) -> int:
    """The process that the judge has started; a fork of it answers."""
    (pid,) = judge._pool.map(os.getppid, [()])
    assert isinstance(pid, int)
    return pid


def started(folder: Path, program: str, arguments: list[str]) -> "subprocess.Popen[str]":
    """A program in a process of its own."""
    (folder / "heavy.py").write_text("")
    (folder / "program.py").write_text(textwrap.dedent(program))
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{folder}"}
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def is_gone(pid: int, *, within_s: float = 5.0) -> bool:
    """Whether the process ends in time; one that nobody has waited for is dead all the same."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False
