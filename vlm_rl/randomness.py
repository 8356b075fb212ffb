"""Named streams of random numbers: every draw of a run is a pure function of the root seed and of what it is for.

No draw depends on batch sizes, on ranks or on what was drawn before, so a resumed run, a run on more devices and a run in
the middle of a sweep see the same numbers. Python's `hash` is salted for each process and never used.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator

import numpy as np
import torch

Key = str | int | float


def stream_seed(root_seed: int, purpose: str, *path: Key) -> int:
    """A 63-bit seed for one purpose: SHA-256 of the root seed, the purpose and the path to the thing drawn for."""
    text = json.dumps([root_seed, purpose, *path], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(root_seed: int, purpose: str, *path: Key) -> np.random.Generator:
    """A generator of its own for one purpose (Philox: counter-based, the same on every machine)."""
    return np.random.Generator(np.random.Philox(key=stream_seed(root_seed, purpose, *path)))


def uniforms(seed: int, *, count: int) -> np.ndarray:
    """`count` numbers in [0, 1), float64, one for each token of the response that `seed` belongs to."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count)


@contextlib.contextmanager
def forked_generator(seed: int) -> Iterator[None]:
    """Libraries that draw from torch's global generator (PEFT's and Transformers' initialisation) draw from `seed` here."""
    with torch.random.fork_rng():
        torch.manual_seed(seed % 2**63)
        yield
