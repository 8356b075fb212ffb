"""GPUs of its own for each worker process of a study on one machine: `${own_gpus:1}` in hydra.job.env_set.CUDA_VISIBLE_DEVICES.

Hydra evaluates it in the worker, before CUDA reads the variable. joblib gives a worker process one job after another, at any
time: so GPUs belong to the process, which holds a file lock on each until it ends. As a program it prints what is visible.
"""

import functools
import itertools
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

NO_MORE = ("", "-1", "NoDevFiles")  # CUDA ignores what comes after an entry that is no GPU
PATIENCE_S = 30.0  # joblib may start a worker in place of one that is still ending
POLL_S = 0.2
_HELD: list[FileLock] = []  # a lock that nothing refers to would be released


def visible_gpus() -> list[str]:
    """Numbers or UUIDs as CUDA_VISIBLE_DEVICES has them; all GPUs by number where it is not set. CUDA stays uninitialised."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return list(itertools.takewhile(lambda gpu: gpu not in NO_MORE, (gpu.strip() for gpu in named.split(","))))
    import torch  # takes seconds, and only this answer needs it

    return [str(number) for number in range(torch.cuda.device_count())]


@functools.cache  # a process that was given GPUs keeps them
def own_gpus(count: int) -> str:
    """A value for CUDA_VISIBLE_DEVICES: `count` visible GPUs that no other process of this user holds by this function."""
    gpus, locks = visible_gpus(), dict[str, FileLock]()
    deadline = time.monotonic() + (PATIENCE_S if count <= len(gpus) else 0)
    while True:
        free = _free(gpu for gpu in gpus if gpu not in locks)
        locks |= dict(itertools.islice(free, count - len(locks)))
        if len(locks) == count:
            _HELD.extend(locks.values())
            return ",".join(locks)
        if time.monotonic() > deadline:
            for lock in locks.values():
                lock.release()
            raise RuntimeError(
                f"A job wants {count} of the {len(gpus)} GPUs that are visible here (CUDA_VISIBLE_DEVICES={','.join(gpus)}) for itself; "
                f"{len(locks)} are free, other jobs of yours hold the rest. Run fewer at a time: launchers/this_machine.sh takes a "
                f"smaller JOBS or GPUS. The locks are in {_folder()}."
            )
        time.sleep(POLL_S)


def _free(gpus: Iterator[str]) -> Iterator[tuple[str, FileLock]]:
    """GPUs that no process holds; each is locked when the iterator yields it."""
    for gpu in gpus:
        lock = FileLock(_folder() / f"{re.sub(r'[^A-Za-z0-9-]', '-', gpu)}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        yield gpu, lock


def _folder() -> Path:
    """The folder of the locks of this user on this machine; the temporary folder may be shared."""
    folder = Path(tempfile.gettempdir()) / f"vlm-rl-gpus-{os.getuid()}-{socket.gethostname()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


if __name__ == "__main__":
    print(",".join(visible_gpus()))
