"""How fast this device multiplies, moves bytes and starts kernels: measured within three seconds, no table of devices."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from vlm_rl.preflight.tracker import Operation

SECONDS_EACH = 0.4  # of one measurement
SIDES = {"cuda": 8192, "cpu": 1024}  # of the matrices multiplied
MOVED = {"cuda": 2**30, "cpu": 2**26}  # bytes of the tensor copied: larger than any cache


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


class _Small(nn.Module):
    """Operations too small to count, called as models call them: through modules, from Python."""

    NUM_OPERATIONS = 3 * 100

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16, bias=False)
        self.register_buffer("rows", torch.zeros(4, 16))

    def forward(self) -> None:
        for _ in range(self.NUM_OPERATIONS // 3):
            self.layer(self.rows) * self.rows + self.rows


@torch.no_grad()
def measured(device: torch.device, *, dtypes: Sequence[str]) -> Machine:
    """The device at hand."""
    side = SIDES.get(device.type, SIDES["cpu"])
    flops = {}
    for name in dtypes:
        matrix = torch.ones(side, side, dtype=getattr(torch, name), device=device)
        flops[name] = 2 * side**3 / _shortest(lambda m=matrix: m @ m, device)  # type: ignore[misc]
    source = torch.zeros(MOVED.get(device.type, MOVED["cpu"]) // 4, device=device)
    target = torch.empty_like(source)
    moving = _shortest(lambda: target.copy_(source), device)
    start = _shortest(_Small().to(device), device) / _Small.NUM_OPERATIONS
    return Machine(flops=flops, bandwidth=2 * source.nbytes / moving, start=start)


def _shortest(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of the quickest of the runs that fit into SECONDS_EACH; the first one warms up."""
    wait: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    run()
    wait()
    best, end = float("inf"), time.perf_counter() + SECONDS_EACH
    while best == float("inf") or time.perf_counter() < end:
        begun = time.perf_counter()
        run()
        wait()
        best = min(best, time.perf_counter() - begun)
    return best
