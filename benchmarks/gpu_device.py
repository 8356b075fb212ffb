"""What benchmarks/gpu.py asks of a device: of CUDA, or of the CPU, which stands in for it so that the whole path runs without a GPU."""

import os
import resource
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vlm_rl.commands.manifest import machine, versions

PACKAGE = str(Path(__file__).parents[1] / "vlm_rl") + os.sep
SYNCHRONISED = "called a synchronizing CUDA operation"  # torch's words in the mode "warn" of set_sync_debug_mode
PACKAGES = ("torch", "transformers", "peft", "lightning", "trl", "accelerate")
Lines = Counter[str]  # file:line of the innermost frame inside vlm_rl, and how often


class Device(Protocol):
    """The calls that differ between a GPU and the CPU."""

    name: str  # as torch.device takes it

    def synchronise(self) -> None:
        """Returns when all work on the device is done; raises what failed there."""

    def reset_peak(self) -> None:
        """From now on `peak_bytes` counts anew."""

    def peak_bytes(self) -> int:
        """Largest memory of tensors since `reset_peak`."""

    def counted(self) -> AbstractContextManager[Lines]:
        """A context in which each host synchronisation is counted by line; gives the `Lines`."""

    def words(self) -> dict[str, object]:
        """The machine in words."""


class Cuda:
    """The first visible GPU."""

    name = "cuda"

    def synchronise(self) -> None:
        """Waits; an error of an earlier kernel is raised here."""
        torch.cuda.synchronize()

    def reset_peak(self) -> None:
        """Of torch's allocator."""
        torch.cuda.reset_peak_memory_stats()

    def peak_bytes(self) -> int:
        """What torch's allocator had handed out."""
        return torch.cuda.max_memory_allocated()

    @contextmanager
    def counted(self) -> Iterator[Lines]:
        """By torch's warnings; torch does not see all synchronisations."""
        lines: Lines = Counter()

        def told(message: Warning | str, *_: object, **__: object) -> None:
            if SYNCHRONISED in str(message):  # the mode itself and libraries warn of other things too
                lines[place()] += 1

        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.simplefilter("always")  # by default Python tells a warning once for each line
            warnings.showwarning = told
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield lines
            finally:
                torch.cuda.set_sync_debug_mode(before)

    def words(self) -> dict[str, object]:
        """With the driver and CUDA."""
        properties = torch.cuda.get_device_properties(0)
        return described(
            gpu=properties.name,
            memory=f"{properties.total_memory / 2**30:.0f} GiB",
            driver=driver(),
            cuda=torch.version.cuda,
        )


class Host:
    """The CPU in the place of a GPU: the same path, other numbers."""

    name = "cpu"

    def synchronise(self) -> None:
        """The CPU has done its work when a call returns."""

    def reset_peak(self) -> None:
        """What a process took at most cannot be forgotten."""

    def peak_bytes(self) -> int:
        """Largest resident memory of the process so far."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    @contextmanager
    def counted(self) -> Iterator[Lines]:
        """Two kinds of them."""
        with _Transfers() as transfers:
            yield transfers.lines

    def words(self) -> dict[str, object]:
        """Without a GPU."""
        return described(gpu="none", memory="", driver="", cuda="")


class _Transfers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts two of the operations for which a GPU makes the host wait; others it does not see."""

    WAITING = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: Lines = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.WAITING:
            self.lines[place()] += 1
        return func(*args, **(kwargs or {}))


def device_of(name: str) -> Device:
    """`cuda` or `cpu`."""
    return Cuda() if name == "cuda" else Host()


def place() -> str:
    """file:line of the innermost frame inside vlm_rl; where there is none (another thread computes again), of the caller."""
    start: FrameType | None = sys._getframe(2)
    while start is not None and start.f_code.co_filename == warnings.__file__:
        start = start.f_back
    frame = start
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            return f"vlm_rl/{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}"
        frame = frame.f_back
    file = Path(start.f_code.co_filename) if start is not None else Path("?")
    return f"{'/'.join(file.parts[-3:])}:{start.f_lineno if start is not None else 0} (not inside vlm_rl)"


def described(*, gpu: str, memory: str, driver: str, cuda: str | None) -> dict[str, object]:
    """What the numbers of a page belong to."""
    return {
        "gpu": gpu,
        "gpu_memory": memory,
        "driver": driver,
        "cuda": cuda or "",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": machine(),
        "versions": versions(PACKAGES),
    }


def driver() -> str:
    """Version of the NVIDIA driver; "unknown" where nvidia-smi does not tell it."""
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return told.splitlines()[0].strip() if told.strip() else "unknown"
