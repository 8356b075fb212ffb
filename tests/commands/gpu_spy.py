"""A callback of Hydra that writes down, for each job of a study, which GPUs it was given, in which process, and when.

Hydra hands it to a worker before the command itself: from then on each question to CUDA is counted, which would fix the GPUs of
the process for good.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from hydra.experimental.callback import Callback

FIRST = "vlm_rl.commands.training" not in sys.modules
QUESTIONS: list[str] = []


def _count(name: str) -> None:
    asked = getattr(torch._C, name)

    def counted(*args: Any) -> Any:
        QUESTIONS.append(name)
        return asked(*args)

    setattr(torch._C, name, counted)


for _name in ("_cuda_getDeviceCount", "_cuda_init"):
    _count(_name)


class GpuSpy(Callback):
    """One JSON file for each job, in `folder`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_job_start(self, config: Any, **_: Any) -> None:
        """With the environment that the job has."""
        self._write(config, gpus=os.environ.get("CUDA_VISIBLE_DEVICES"), first=FIRST, asked=list(QUESTIONS), start=time.time())

    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:
        """After it."""
        self._write(config, status=job_return.status.name, end=time.time(), pid=os.getpid())

    def _write(self, config: Any, **seen: Any) -> None:
        path = Path(self.folder) / f"{config.hydra.job.num}.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps(before | seen), encoding="utf-8")
