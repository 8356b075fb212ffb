"""Runs a model's own code without weights: floating-point tensors are shadows (shape and dtype, no memory), whole numbers and
masks are real. So grids, masks and positions decide shapes as they do in a run, whatever the family.

Shadows pretend to be on the CPU, whose attention kernel keeps what the fused CUDA kernels keep: no (query, key) matrix, a mask turned
into the dtype of the queries.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from vlm_rl.preflight.tracker import Ledger, Operation, Peak, cost

LARGEST_REAL = 2**22  # bytes; larger masks (batch, 1, query, key) become shadows, as no shape depends on them
Built = TypeVar("Built", bound=nn.Module)
aten = torch.ops.aten
_INDEXING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)


class Shadows(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is on, operations on shadows make shadows; the ledger and the list of operations say what they would cost."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger = Ledger()
        self.operations: list[Operation] = []
        self._fake = FakeTensorMode()
        self._width, self._name = 0, ""

    def label_width(self, width: int, name: str) -> None:
        """Shadows whose last axis is so wide get this label when they are born."""
        self._width, self._name = width, name

    def start(self) -> None:
        """From now on peak and operations are counted."""
        self.ledger.start()
        self.operations.clear()

    def stop(self) -> tuple[Peak, tuple[Operation, ...]]:
        """What was counted since `start`."""
        return self.ledger.peak(), tuple(self.operations)

    def build(self, make: Callable[[], Built]) -> Built:
        """A module whose parameters are shadows; weights are neither read nor drawn."""
        with torch.device("meta"):
            module = make()
        self.cast(module)
        return module

    def cast(self, module: nn.Module) -> None:
        """Turns the meta tensors of a module into shadows; shared ones stay shared."""
        known: dict[int, Tensor] = {}
        for part in module.modules():
            places: tuple[dict[str, Any], ...] = (part._parameters, part._buffers)
            for tensors in places:
                for name, value in tensors.items():
                    if value is not None and value.is_meta:
                        tensors[name] = known.setdefault(id(value), self._cast(value))

    def _cast(self, value: Tensor) -> Tensor:
        shadow = self.of(value.detach())
        if isinstance(value, nn.Parameter):
            shadow = nn.Parameter(shadow, requires_grad=value.requires_grad)
        self.ledger.record(shadow)
        return shadow

    def of(self, value: Tensor) -> Tensor:
        """The shadow of a tensor; whole numbers and masks stay real (zeros, if they were on the meta device)."""
        if value.is_floating_point():
            with _disable_current_modes():
                shadow: Tensor = self._faked(value)
            return shadow
        return torch.zeros(value.shape, dtype=value.dtype, device="cpu") if value.is_meta else value

    def _faked(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, FakeTensor):
            return value
        return FakeTensor(self._fake, value.to("meta"), torch.device("cpu"))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = self._run(func, args, kwargs)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._record(leaf)
        operation = cost(func, args, kwargs, out)
        if operation is not None:
            self.operations.append(operation)
        return out

    def _record(self, made: Tensor) -> None:
        is_new = not self.ledger.knows(made)
        self.ledger.record(made)
        if is_new and made.is_floating_point() and made.shape[-1:] == (self._width,):
            self.ledger.label([made], self._name)

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not tensors:
            return self._made(func, args, kwargs)
        if not any(isinstance(tensor, FakeTensor) for tensor in tensors) and not _is_large(func, tensors):
            return tree_map(self._small, func(*args, **kwargs))
        if func is aten._local_scalar_dense.default:
            return 1.0  # a norm, a loss: finite, and no shape depends on it
        if func._schema.is_mutable and isinstance(args[0], Tensor) and not isinstance(args[0], FakeTensor):
            return args[0]  # whole numbers computed from shadows, such as sampled ids: they stay what they were
        args, kwargs = tree_map(self._faked, (self._by_place(func, args), kwargs))
        return tree_map(self._discrete, func(*args, **kwargs))

    def _made(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A tensor out of nothing."""
        with self._fake:
            made = func(*args, **kwargs)
        is_shadow = isinstance(made, Tensor) and made.is_floating_point()
        return made if is_shadow else tree_map(self._small, func(*args, **kwargs))

    def _small(self, value: Any) -> Any:
        large = isinstance(value, Tensor) and value.untyped_storage().nbytes() > LARGEST_REAL
        return self._faked(value) if large else value

    @staticmethod
    def _by_place(func: Any, args: Any) -> Any:
        """A mask as an index says how many are chosen: it becomes their places."""
        if func not in _INDEXING:
            return args
        places: list[Tensor | None] = []
        for index in args[1]:
            places += index.nonzero().unbind(1) if index is not None and index.dtype == torch.bool else [index]
        return args[0], places, *args[2:]

    @staticmethod
    def _discrete(value: Any) -> Any:
        """Whole numbers and masks computed from shadows are real again, as zeros."""
        if not isinstance(value, Tensor) or value.is_floating_point() or value.untyped_storage().nbytes() > LARGEST_REAL:
            return value
        return torch.zeros(value.shape, dtype=value.dtype)


def _is_large(func: Any, tensors: list[Tensor]) -> bool:
    """Whether element by element a large mask would be made of small ones."""
    if torch.Tag.pointwise not in func.tags:
        return False
    widest: torch.Size = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))  # type: ignore[no-untyped-call]
    return math.prod(widest) * max(tensor.element_size() for tensor in tensors) > LARGEST_REAL
