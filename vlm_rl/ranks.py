"""What ranks exchange besides gradients: objects, over the CPU's process group (gloo), on whatever device they train."""

import contextlib
import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from torch import Tensor

from vlm_rl.masking import is_distributed

T = TypeVar("T")
SECONDS_OF_A_TRY = 60.0  # far below the time limit of any collective
_is_alone = False  # inside of in_turn


def rank() -> int:
    """This process among the ranks."""
    return dist.get_rank() if is_distributed() else 0


def is_first() -> bool:
    """Whether this process writes the files and decides what all ranks do."""
    return rank() == 0


def num_ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if is_distributed() else 1


def from_first(value: T) -> T:
    """Return the first rank's value on every rank; the others' own value does not count. Every rank must call this."""
    assert not _is_alone, "the other ranks wait for their turn, and would take this for the end of ours"
    if not is_distributed():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gathered(value: T) -> list[T]:
    """Return the values of all ranks, in their order, on every rank."""
    assert not _is_alone, "the other ranks wait for their turn, and would take this for the end of ours"
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * num_ranks()
    dist.all_gather_object(values, value)
    return values


def exchanged(values: Sequence[T]) -> list[T]:
    """One value for each rank, each sent to its rank alone; returns what the ranks sent to this one, in their order.

    Tensors arrive on the CPU, this rank's own value as it is. Every rank must call this.
    """
    assert not _is_alone, "the other ranks wait for their turn, and would take this for the end of ours"
    if not is_distributed():
        return list(values)
    letters, ends = io.BytesIO(), [0]
    for place, value in enumerate(values):
        if place != rank():
            _Letter(letters, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
        ends.append(letters.tell())
    sizes = torch.tensor(ends).diff()
    arriving = torch.empty_like(sizes)
    dist.all_to_all_single(arriving, sizes)
    arrived = torch.empty(int(arriving.sum()), dtype=torch.uint8)
    sent = torch.frombuffer(letters.getbuffer(), dtype=torch.uint8)
    dist.all_to_all_single(arrived, sent, arriving.tolist(), sizes.tolist())
    parts = torch.split(arrived, arriving.tolist())
    return [values[i] if i == rank() else pickle.loads(part.numpy().data) for i, part in enumerate(parts)]


class _Letter(pickle.Pickler):
    """Of a tensor the bytes that it shows, from any device; PyTorch would write the whole storage that it is a view of."""

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return NotImplemented
        shown = value.detach().cpu().reshape(-1).view(torch.uint8).numpy()
        return _tensor, (shown, value.dtype, value.shape)


def _tensor(shown: np.ndarray, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    return torch.from_numpy(shown).view(dtype).view(shape)


def any_of(flag: bool) -> bool:
    """Whether the flag is set on one rank at least: the same answer on every rank."""
    return any(gathered(flag))


def together(work: Callable[[], T], *, fails: type[Exception]) -> T:
    """The result of this rank's work. Where it raises `fails` on any rank, every rank raises it. Every rank must call this."""
    result, error = [], None
    try:
        result.append(work())
    except fails as failure:
        error = failure
    others = [said for said in gathered(None if error is None else str(error)) if said is not None]
    if others:
        raise error or fails(others[0])
    return result[0]


def gather_table(table: pa.Table) -> pa.Table:
    """The rows of all ranks, rank after rank, on every rank."""
    return pa.concat_tables(gathered(table))


@contextlib.contextmanager
def in_turn(*, place: int, num_places: int) -> Iterator[None]:
    """One process of a machine after the other, so that only one of them fills the host's memory at a time.

    `place`: this process among the `num_places` of its machine. Every rank must call this. Inside, ranks exchange nothing: the
    others are in another place of the program.
    """
    global _is_alone
    for turn in range(num_places):
        if turn == place:
            _is_alone = num_places > 1
            try:
                yield
            finally:
                _is_alone = False
        gathered(None)  # nobody leaves before all have come; a broadcast goes from rank to rank


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """The first rank holds a file lock for all of them. While it waits for the lock, it sends the others a message every minute, so
    that no collective waits as long as the holder may work."""
    lock = FileLock(path)
    while not from_first(is_first() and _is_taken(lock)):
        pass
    try:
        yield
    finally:
        lock.release()


def _is_taken(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=SECONDS_OF_A_TRY)
    except Timeout:
        return False
    return True
