"""Torch and the libraries on it are five thousand modules: a fifth of their import was spent on looking for garbage among them."""

import atexit
import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Imports inside are not interrupted by collections, which would find next to nothing; later collections leave what was imported alone.

    Only the first time in a process: what a run of a sweep has made must not stay for good.
    """
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # else extensions made with nanobind print what they call leaks
        gc.enable()
