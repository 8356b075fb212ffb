"""A process that has imported everything once and forks a command when asked: a start costs a second less of every library.

Run as a script it serves orders, one JSON line each. Not multiprocessing's forkserver: that one is shared with the judge,
whose workers must not import torch.
"""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 600.0  # for one command, on a machine that does much else
SECONDS_BETWEEN_LOOKS = 0.002  # a checkpoint of the tiny model takes some ten milliseconds
LOOKS = 20  # for each question whether it still runs


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a command ended; -9 is SIGKILL."""

    code: int
    out: str
    err: str


class Command:
    """A command that was started and is waited for, watched or killed."""

    def __init__(self, *, server: "Forking", pid: int, log: Path) -> None:
        self._server, self.pid, self._log = server, pid, log
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self._code is None:
            self._code = self._server.ask({"poll": self.pid})["code"]
        return self._code

    def wait_until(self, seen: Callable[[], bool]) -> bool:
        """Looks until something is seen (True) or the command has ended (False)."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self.poll() is not None:
                return False
            for _ in range(LOOKS):
                if seen():
                    return True
                time.sleep(SECONDS_BETWEEN_LOOKS)
        raise TimeoutError(self._log)

    def send(self, number: int) -> None:
        """A signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self) -> Finished:
        """Its end."""
        self.wait_until(lambda: False)
        assert self._code is not None
        return Finished(code=self._code, out=self._log.read_text(), err=self._log.with_suffix(".err").read_text())


class Forking:
    """The client's side: orders and answers are lines of JSON."""

    def __init__(self, **variables: str) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        for name in ("VLM_RL_STUDY", "HYDRA_FULL_ERROR", "WANDB_API_KEY"):
            environment.pop(name, None)
        environment |= variables
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        self._logs, self._count = Path(tempfile.mkdtemp()), 0  # not beside the run: its disk may be full

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """One order, one answer."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer

    def start(self, script: str, arguments: Sequence[str], *, cwd: Path) -> Command:
        """`python <script> <arguments>` in a folder."""
        self._count += 1
        log = self._logs / f"{self._count}.out"
        for file in (log, log.with_suffix(".err")):
            file.touch()  # whoever is killed at once has opened neither
        argv = [str(ROOT / script), *arguments]
        pid = self.ask({"argv": argv, "cwd": str(cwd), "log": str(log)})["pid"]
        return Command(server=self, pid=pid, log=log)

    def run(self, script: str, arguments: Sequence[str], *, cwd: Path) -> Finished:
        """The same, and waits."""
        return self.start(script, arguments, cwd=cwd).wait()

    def close(self) -> None:
        """Ends the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()
        shutil.rmtree(self._logs)


def serve() -> None:
    """The server's side."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    preload()
    for line in sys.stdin:
        order = json.loads(line)
        if "poll" in order:
            done, status = os.waitpid(order["poll"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if done else None}
        else:
            pid = os.fork()
            if pid == 0:
                become(order)
            answer = {"pid": pid}
        print(json.dumps(answer), file=answers, flush=True)


def preload() -> None:
    """What every command imports; nothing is computed, so that no thread is started before the fork."""
    import peft
    import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl
    import transformers.models.qwen2_5_vl.processing_qwen2_5_vl
    import transformers.models.qwen2_vl.image_processing_qwen2_vl

    import vlm_rl.commands.evaluate
    import vlm_rl.commands.train
    import vlm_rl.commands.training  # noqa: F401

    assert peft and transformers


def become(order: dict[str, Any]) -> None:
    """Turns the fork into the command that was ordered."""
    for descriptor, path in ((0, os.devnull), (1, order["log"]), (2, str(Path(order["log"]).with_suffix(".err")))):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, also where the tests run in the background
    os.chdir(order["cwd"])
    sys.argv = order["argv"]
    sys.path[0] = str(Path(order["argv"][0]).parent)
    code: Any = 0
    try:
        runpy.run_path(order["argv"][0], run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
