"""A vLLM server on the CPU, started by the very command that `python -m vlm_rl.commands.serve_flags` prints."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
from hydra.utils import instantiate
from serving_app import free_port

from vlm_rl.commands import resolvers
from vlm_rl.commands.composing import composed
from vlm_rl.commands.serve_flags import VARIABLES, serve_command

PATIENCE_S = 300.0
SITE = Path(__file__).parent / "site"
ON_A_CPU = {  # what a machine without a GPU needs
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": str(SITE),
}
FLAGS_ON_A_CPU = ("--host", "127.0.0.1", "--enforce-eager", "--max-num-seqs", "32")


def command_for(words: Sequence[str], *, port: int) -> tuple[dict[str, str], list[str]]:
    """The variables and the words of the printed command."""
    resolvers.register()
    cfg = composed(list(words))
    parts = shlex.split(serve_command(cfg, instantiate(cfg.dataset), port=port))
    return dict(part.split("=") for part in parts[: len(VARIABLES)]), parts[len(VARIABLES) :]


def without(words: Sequence[str], flag: str | None) -> list[str]:
    """The words without one flag and its value."""
    if flag is None:
        return list(words)
    place = words.index(flag)
    return [*words[:place], *words[place + 2 :]]


@contextlib.contextmanager
def serving(
    words: Sequence[str],
    *more: str,
    log: Path,
    dropped_flag: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The address of a server for a run of these words, with more flags; it is stopped at the end."""
    port = free_port()
    printed, (program, *parts) = command_for(words, port=port)
    program = str(Path(os.environ["VLLM_PYTHON"]).with_name(program))
    command = [program, *without(parts, dropped_flag), *FLAGS_ON_A_CPU, *more]
    environment = os.environ | ON_A_CPU | (printed if variables is None else dict(variables))
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE_S:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=5).is_success:
                print(f"vLLM answered {time.monotonic() - begun:.0f} s after its start.", flush=True)
                return
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.5)
    raise TimeoutError(log.read_text()[-3000:])
