"""Seconds spent on named stretches of a generation step; read and set to zero once a step."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator

import torch

from vlm_rl.device import synchronise

CPU = torch.device("cpu")


class Stopwatch:
    """One for each run, handed to whoever is measured. `device`: what has to have finished before a stretch is over."""

    def __init__(self, *, device: torch.device = CPU) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._device = device

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the wall-clock seconds inside to `name`."""
        begun = time.perf_counter()
        try:
            yield
            synchronise(self._device)  # a GPU computes on while the program is in the next stretch
        finally:
            self._seconds[name] += time.perf_counter() - begun

    def read(self) -> dict[str, float]:
        """Seconds of each name since the last reading."""
        seconds = dict(self._seconds)
        self._seconds.clear()
        return seconds
