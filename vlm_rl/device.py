"""Synchronising with the device that computes, and the peak of its memory."""

import resource
import sys

import torch


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its work; the CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    """Reset the peak of a GPU's memory: a sweep runs several jobs in one process. On the CPU there is no reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """Largest memory so far, in bytes: allocated on a GPU since `forget_peak`, resident of this process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
