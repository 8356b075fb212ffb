"""Seconds spent on named stretches of a generation step; read and set to zero once a step."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator


class Stopwatch:
    """One for each run, handed to whoever is measured."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the wall-clock seconds inside to `name`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - begun

    def read(self) -> dict[str, float]:
        """Seconds of each name since the last reading."""
        seconds = dict(self._seconds)
        self._seconds.clear()
        return seconds
