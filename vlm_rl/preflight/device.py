"""The device that a run would use, and the memory that is free on it."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

GPU_ACCELERATORS = ("auto", "gpu", "cuda")  # of trainer.accelerator


@dataclass(frozen=True, kw_only=True)
class Device:
    """One rank's."""

    device: torch.device
    name: str
    free_bytes: int


def device_of(accelerator: str) -> Device:
    """As Lightning chooses; on a GPU what others use is not free, on the CPU what the system calls available."""
    if accelerator in GPU_ACCELERATORS and torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
        return Device(device=device, name=torch.cuda.get_device_name(device), free_bytes=torch.cuda.mem_get_info(device)[0])
    return Device(device=torch.device("cpu"), name="CPU", free_bytes=_free_memory())


def num_ranks(*, devices: object, num_nodes: int, accelerator: str) -> int:
    """Ranks of a run: trainer.devices may be a number, a list, or words for all there are."""
    if isinstance(devices, int) and devices > 0:
        return devices * num_nodes
    if isinstance(devices, list | tuple):
        return len(devices) * num_nodes
    on_gpus = accelerator in GPU_ACCELERATORS and torch.cuda.is_available()
    return (torch.cuda.device_count() if on_gpus else 1) * num_nodes


def _free_memory() -> int:
    told = Path("/proc/meminfo")
    if told.exists():
        line = next(line for line in told.read_text().splitlines() if line.startswith("MemAvailable"))
        return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
