"""A logical GPU: tensors keep their data on the CPU, and what CUDA would refuse is a fault with file and line.

It sees devices, not numbers: kernels, their speed and their rounding are the CPU's. What it does not see: streams, memory,
operations that only CUDA lacks, more than one device, and Python hooks of the backward pass.
"""

import contextlib
from collections.abc import Iterator
from unittest import mock

import torch.distributed as dist
import torch.utils.checkpoint

from logical.findings import Findings
from logical.modes import Functions, Operations
from logical.stand_ins import standing_in


@contextlib.contextmanager
def logical_gpu() -> Iterator[Findings]:
    """Inside, `torch.cuda` is there and "cuda" means the logical GPU."""
    findings = Findings()
    operations = Operations(findings)
    functions = Functions(operations, findings)
    frame = torch.utils.checkpoint._CheckpointFrame
    again = mock.patch.object(frame, "__init__", functions.computing_again(frame.__init__))
    with standing_in(findings), again, operations, functions:
        yield findings


@contextlib.contextmanager
def group_of_one() -> Iterator[None]:
    """A real group of one rank, so that every collective happens."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()
