"""Which tensors are alive at the moment of the largest memory, and what each operation costs. Real tensors and shadows alike."""

import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

ACTIVATIONS = "activations"  # whatever nobody has labelled


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Bytes alive when they were most, by label, and how many were alive when the ledger was started."""

    parts: dict[str, int]
    at_start: int

    @property
    def total(self) -> int:
        """All bytes at the peak."""
        return sum(self.parts.values())


@dataclass(kw_only=True)
class Ledger:
    """Births and deaths of storages, in order. A label may be given at any time after the birth, even after the peak."""

    _sizes: list[int] = field(default_factory=list)  # bytes of each storage that was ever born
    _labels: dict[int, str] = field(default_factory=dict)  # of a birth
    _alive: dict[int, tuple[int, Any]] = field(default_factory=dict)  # address of a storage: its birth, a weak reference
    _events: list[int] = field(default_factory=list)  # birth n as n, its death as ~n
    _at_start: set[int] = field(default_factory=set)

    def knows(self, tensor: Tensor) -> bool:
        """Whether the tensor's storage was born before."""
        return tensor.untyped_storage()._cdata in self._alive

    def record(self, tensor: Tensor) -> int:
        """The birth that the tensor's storage belongs to."""
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._alive:
            return self._alive[address][0]
        birth = len(self._sizes)
        self._sizes.append(storage.nbytes())
        self._events.append(birth)

        def died(_: Any) -> None:
            del self._alive[address]
            self._events.append(~birth)

        self._alive[address] = (birth, weakref.ref(storage, died))
        return birth

    def label(self, tensors: Iterable[Tensor], name: str) -> None:
        """Says what these tensors are."""
        for tensor in tensors:
            self._labels[self.record(tensor)] = name

    def start(self) -> None:
        """Forgets the past, but for what is alive now."""
        self._at_start = {birth for birth, _ in self._alive.values()}
        self._events.clear()

    def peak(self) -> Peak:
        """The largest moment since `start`."""
        at_start = now = most = sum(self._sizes[birth] for birth in self._at_start)
        place = 0
        for i, event in enumerate(self._events):
            now += self._sizes[event] if event >= 0 else -self._sizes[~event]
            if now > most:
                most, place = now, i + 1
        alive = set(self._at_start)
        for event in self._events[:place]:
            if event >= 0:
                alive.add(event)
            else:
                alive.discard(~event)
        parts: Counter[str] = Counter()
        for birth in alive:
            parts[self._labels.get(birth, ACTIVATIONS)] += self._sizes[birth]
        return Peak(parts=dict(parts), at_start=at_start)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What one kernel does."""

    flops: int
    num_bytes: int  # read and written
    dtype: str


VIEW = Operation(flops=0, num_bytes=0, dtype="")


def cost(func: Any, args: Any, kwargs: Any, out: Any) -> Operation | None:
    """Floating-point operations and bytes moved; None for what makes no tensor. A view only takes the time to ask for it."""
    outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    if not outputs:
        return None
    if func.is_view:
        return VIEW
    inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    count = flop_registry.get(func._overloadpacket)
    return Operation(
        flops=0 if count is None else int(count(*args, **kwargs, out_val=out)),
        num_bytes=sum(min(t.nbytes, t.untyped_storage().nbytes()) for t in (*inputs, *outputs)),
        dtype=str(outputs[0].dtype).removeprefix("torch."),
    )


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps a ledger of the real tensors that are made while it is on."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ledger = ledger

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._ledger.record(leaf)
        return out
