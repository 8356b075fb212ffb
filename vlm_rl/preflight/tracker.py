"""Which tensors are alive at the moment of the largest memory, and what each operation costs. Real tensors and fake ones alike.

`torch.distributed._tools.MemTracker` cannot do it: it refuses modules with frozen parameters and more than one forward of a module.
"""

import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

ACTIVATIONS = "activations"  # whatever has no label


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What one kernel does."""

    flops: int
    num_bytes: int  # read and written; 0 of a view
    dtype: str


@dataclass(kw_only=True)
class _Storage:
    num_bytes: int
    born: int  # count of births and deaths since the start; 0: before it
    label: str = ACTIVATIONS
    died: int | None = None


class Tracker:
    """Births and deaths of storages, and operations. A tensor may get its label at any time, even after the peak."""

    def __init__(self) -> None:
        self.label_of_width: dict[int, str] = {}  # of a new floating-point tensor whose last axis is so wide
        self.operations: list[Operation] = []
        self._alive: dict[int, tuple[_Storage, Any]] = {}  # by the storage's address, with a weak reference
        self._storages: list[_Storage] = []  # that were alive at some time since the start
        self._time = 0

    def start(self) -> int:
        """Forgets the past, except for what is alive; returns the bytes that are."""
        self._storages, self._time = [storage for storage, _ in self._alive.values()], 0
        for storage in self._storages:
            storage.born = 0
        self.operations = []
        return sum(storage.num_bytes for storage in self._storages)

    def peak(self) -> dict[str, int]:
        """Bytes by label at the first moment, since the start, at which most were alive."""
        change = np.zeros(self._time + 1, dtype=np.int64)
        for storage in self._storages:
            change[storage.born] += storage.num_bytes
            if storage.died is not None:
                change[storage.died] -= storage.num_bytes
        moment = int(change.cumsum().argmax())
        parts: Counter[str] = Counter()
        for storage in self._storages:
            if storage.born <= moment and (storage.died is None or storage.died > moment):
                parts[storage.label] += storage.num_bytes
        return dict(parts)

    def label(self, tensors: Iterable[Tensor], name: str) -> None:
        """Says what these tensors are."""
        for tensor in tensors:
            self._storage_of(tensor).label = name

    def record(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Takes note of an operation that was run, and of the tensors that it made."""
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        for tensor in outputs:
            self._storage_of(tensor)
        if outputs:
            self.operations.append(operation(func, args, kwargs, out, outputs=outputs))

    def _storage_of(self, tensor: Tensor) -> _Storage:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._alive:
            return self._alive[address][0]
        self._time += 1
        made = _Storage(num_bytes=storage.nbytes(), born=self._time)
        if tensor.is_floating_point() and tensor.ndim:
            made.label = self.label_of_width.get(tensor.shape[-1], ACTIVATIONS)
        self._alive[address] = (made, weakref.ref(storage, partial(self._end, address)))
        self._storages.append(made)
        return made

    def _end(self, address: int, _: Any) -> None:
        self._time += 1
        self._alive.pop(address)[0].died = self._time


def operation(func: Any, args: Any, kwargs: Any, out: Any, *, outputs: list[Tensor]) -> Operation:
    """Floating-point operations by PyTorch's own formulas, and bytes moved. A view only takes the time to ask for it."""
    dtype = str(outputs[0].dtype).removeprefix("torch.")
    if func.is_view:
        return Operation(flops=0, num_bytes=0, dtype=dtype)
    inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    count = flop_registry.get(func._overloadpacket)
    return Operation(
        flops=0 if count is None else int(count(*args, **kwargs, out_val=out)),
        num_bytes=sum(min(t.nbytes, t.untyped_storage().nbytes()) for t in (*inputs, *outputs)),
        dtype=dtype,
    )
