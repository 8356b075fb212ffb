"""The device that a run would use, the memory that is free on it, and how fast the one at hand is, measured in three seconds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil
import torch

from vlm_rl.preflight.tracker import Operation

GPU_ACCELERATORS = ("auto", "gpu", "cuda")  # of trainer.accelerator
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
SECONDS_EACH, NUM_REPEATS = 0.4, 4  # of one measurement
SIDES = {"cuda": 8192, "cpu": 1024}  # of the matrices multiplied
MOVED = {"cuda": 2**30, "cpu": 2**26}  # bytes of the tensor copied: larger than any cache


@dataclass(frozen=True, kw_only=True)
class Device:
    """One rank's."""

    device: torch.device  # the one here whose speed can be measured
    name: str
    free_bytes: int
    on_gpu: bool  # where the run would be
    is_certain: bool  # a GPU was found, or the device was named: then too little memory keeps the run from starting

    @property
    def is_here(self) -> bool:
        """Whether the speed of the device at hand is the run's."""
        return self.on_gpu == (self.device.type == "cuda")


def device_of(accelerator: str, *, memory: str | int | None) -> Device:
    """As Lightning chooses; on a GPU what others use is not free, on the CPU what the system calls available.

    With `memory` (bytes, or words as 80GiB) it is a GPU that has so much free, wherever it is.
    """
    has_gpu = accelerator in GPU_ACCELERATORS and torch.cuda.is_available()
    device = torch.device("cuda", torch.cuda.current_device()) if has_gpu else torch.device("cpu")
    on_gpu = has_gpu or memory is not None
    if memory is not None:
        name, free = "preflight.device_memory", num_bytes(memory)
    elif has_gpu:
        name, free = torch.cuda.get_device_name(device), torch.cuda.mem_get_info(device)[0]
    else:
        name, free = "CPU", psutil.virtual_memory().available
    return Device(device=device, name=name, free_bytes=free, on_gpu=on_gpu, is_certain=on_gpu or accelerator == "cpu")


def num_bytes(memory: str | int) -> int:
    """Of 80GiB, 80 GB, 500MiB or a number of bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([A-Z]*)", str(memory).strip().upper())
    if found is None or found[2] not in UNITS:
        raise ValueError(f"preflight.device_memory={memory} is no size. Write what is free on one device, as 80GiB or 40GB.")
    return round(float(found[1]) * UNITS[found[2]])


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One device."""

    flops: Mapping[str, float]  # per second in matrix products, by dtype
    bandwidth: float  # bytes per second, read and written
    start: float  # seconds that an operation takes however small it is

    def seconds(self, operations: Sequence[Operation]) -> float:
        """Each operation is bound by its arithmetic, its memory or its start."""
        slowest = min(self.flops.values())
        return sum(
            max(o.flops / self.flops.get(o.dtype, slowest), o.num_bytes / self.bandwidth, self.start) for o in operations
        )


@torch.no_grad()
def measured(device: torch.device, *, dtypes: Sequence[str], num_threads: int) -> Machine:
    """The device at hand; of each measurement the quickest run counts."""
    side, flops = SIDES.get(device.type, SIDES["cpu"]), {}
    for name in dtypes:
        matrix = torch.ones(side, side, dtype=getattr(torch, name), device=device)
        flops[name] = 2 * side**3 / _seconds("matrix @ matrix", num_threads, matrix=matrix)
    source = torch.zeros(MOVED.get(device.type, MOVED["cpu"]) // 4, device=device)
    moving = _seconds("target.copy_(source)", num_threads, source=source, target=torch.empty_like(source))
    layer, rows = torch.nn.Linear(16, 16, bias=False, device=device), torch.zeros(4, 16, device=device)
    start = _seconds("layer(rows) * rows + rows", num_threads, layer=layer, rows=rows) / 3  # too small for anything else
    return Machine(flops=flops, bandwidth=2 * source.nbytes / moving, start=start)


def _seconds(statement: str, num_threads: int, **named: object) -> float:
    from torch.utils.benchmark import Timer  # its import initialises CUDA: not before a worker has its own GPUs

    timer = Timer(statement, globals=named, num_threads=num_threads)
    number = max(1, round(SECONDS_EACH / NUM_REPEATS / timer.timeit(1).mean))
    return float(min(timer.timeit(number).mean for _ in range(NUM_REPEATS)))
