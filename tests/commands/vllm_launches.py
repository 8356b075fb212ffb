"""Starts launchers/vllm.sh as a terminal does, with a `vllm` and, where nothing is trained, a `python` that only seem to be."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from launcher_scripts import ROOT, environment

SETTINGS = ("SERVERS", "VLLM", "BASE_PORT", "START_MINUTES", "MEMORY_SHARE", "VISIBLE", "PORT")
PATIENCE_S = 120.0
# A fake: the GPUs are $VISIBLE, a server's command names what it was asked for, and train.py shows its words and does $TRAIN.
PYTHON = """#!/usr/bin/env bash
case "$*" in
  "-m vlm_rl.commands.own_gpus") echo "$VISIBLE" ;;
  "-m vlm_rl.commands.serve_flags "*)
    for port in ${PORT//,/ }; do
      echo "ALLOWED=1 vllm serve 'a model' '{\\"image\\": 1}' --port $port${MEMORY_SHARE:+ --gpu-memory-utilization $MEMORY_SHARE}"
    done ;;
  *) printf '%s\\n' "${CUDA_VISIBLE_DEVICES-unset}" "$@"; eval "${TRAIN:-}" ;;
esac
"""
# Writes down what it was given, a file for each port, and does $SERVER with it; by default it is healthy until it is stopped.
VLLM = """#!/usr/bin/env bash
words=("$@")
while [[ $1 != --port ]]; do shift; done
port=$2
printf '%s\\n' "$$" "${CUDA_VISIBLE_DEVICES-unset}" "${ALLOWED-unset}" "${words[@]}" >"$RECORDS/$port"
eval "${SERVER:-exec $REAL_PYTHON $RECORDS/healthy.py $port}"
"""
HEALTHY = """import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200 if self.path == "/health" else 404); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Launch:
    """One launcher in a folder of its own, in a process group and session of its own."""

    def __init__(self, folder: Path, *typed: str, is_real: bool = False, **settings: str) -> None:
        self._records = folder / "records"
        self._records.mkdir(exist_ok=True)
        (self._records / "healthy.py").write_text(HEALTHY, encoding="utf-8")
        for name, text in (("python", PYTHON), ("vllm", VLLM)):
            (folder / name).write_text(text, encoding="utf-8")
            (folder / name).chmod(0o755)
        around = {name: value for name, value in environment().items() if name not in SETTINGS} | settings
        around |= {"RECORDS": str(self._records), "REAL_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
        around |= {"PYTHON": sys.executable if is_real else str(folder / "python"), "VLLM": str(folder / "vllm")}
        self._files = folder / "launcher.out", folder / "launcher.err"
        with self._files[0].open("w") as out, self._files[1].open("w") as err:
            self.process = subprocess.Popen(
                [shutil.which("bash") or "bash", str(ROOT / "launchers" / "vllm.sh"), *typed],
                env=around,
                cwd=folder,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as in a terminal, wherever the tests run
            )

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._files[0].read_text()

    @property
    def err(self) -> str:
        """Of its errors too."""
        return self._files[1].read_text()

    def servers(self) -> dict[int, list[str]]:
        """By port: CUDA_VISIBLE_DEVICES, the variable of the printed command, and the words."""
        return {int(file.name): file.read_text().splitlines()[1:] for file in sorted(self._records.glob("[0-9]*"))}

    def running(self) -> list[int]:
        """Process ids of servers that are still there."""
        pids = [int(file.read_text().split()[0]) for file in self._records.glob("[0-9]*")]
        return [pid for pid in pids if psutil.pid_exists(pid)]

    def wait_until(self, seen: Callable[[], bool]) -> None:
        """Until something is seen while it runs."""
        deadline = time.monotonic() + PATIENCE_S
        while not seen():
            assert self.process.poll() is None and time.monotonic() < deadline, self.out + self.err
            time.sleep(0.005)

    def interrupt(self) -> None:
        """Ctrl-C: the signal reaches the whole group of the terminal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(timeout=PATIENCE_S)

    def close(self) -> None:
        """Ends what a failed test has left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pid in self.running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
