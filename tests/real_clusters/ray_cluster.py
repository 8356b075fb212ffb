"""Ray on this machine, started by hand as the head of a cluster."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from serving_app import free_port
from studies import ROOT, SITE

CORES = 4  # that Ray shares out, whatever the machine has


@contextlib.contextmanager
def ray_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The variables of a command that uses this Ray; it is stopped at the end."""
    short = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # its sockets' names may have 107 characters
    port = free_port()
    for_workers = {"PYTHONPATH": f"{ROOT}{os.pathsep}{SITE}", "ENDINGS": str(folder), "OMP_NUM_THREADS": "1"}
    ray = str(Path(os.environ["CLUSTERS_PYTHON"]).with_name("ray"))
    flags = ["--head", "--block", f"--port={port}", f"--num-cpus={CORES}", f"--temp-dir={short}", "--include-dashboard=false"]
    with (folder / "ray.output").open("wb") as output:
        head = subprocess.Popen(
            [ray, "start", *flags, "--disable-usage-stats"],
            cwd=folder,
            env=os.environ | for_workers,  # workers inherit them
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield {"ADDRESS": f"127.0.0.1:{port}", "ENDINGS": str(folder)}
    finally:
        head.terminate()
        try:
            head.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()
        shutil.rmtree(short, ignore_errors=True)
