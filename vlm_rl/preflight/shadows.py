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

LARGEST_REAL = 2**22  # bytes; larger masks of queries against keys become shadows, as no shape depends on them
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
        if not any(isinstance(tensor, FakeTensor) for tensor in tensors):
            return self._of_real(func, args, kwargs, tensors=tensors)
        if func is aten._local_scalar_dense.default:
            return 1.0  # a norm, a loss: finite, and no shape depends on it
        if func._schema.is_mutable and isinstance(args[0], Tensor) and not isinstance(args[0], FakeTensor):
            return args[0]  # whole numbers computed from shadows, such as sampled ids: they stay what they were
        args, kwargs = tree_map(self._faked, (self._by_place(func, args), kwargs))
        return tree_map(self._discrete, func(*args, **kwargs))

    def _of_real(self, func: Any, args: Any, kwargs: Any, *, tensors: list[Tensor]) -> Any:
        """Real, unless it is a large mask: that one is never made."""
        if _is_large(func, tensors):
            made = func(*tree_map(self._faked, args), **tree_map(self._faked, kwargs))
            if isinstance(made, Tensor) and _needs_no_values(made):
                return made
        return tree_map(self._small, func(*args, **kwargs))

    def _made(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A tensor out of nothing."""
        with self._fake:
            made = func(*args, **kwargs)
        is_shadow = isinstance(made, Tensor) and made.is_floating_point()
        return made if is_shadow else tree_map(self._small, func(*args, **kwargs))

    def _small(self, value: Any) -> Any:
        return self._faked(value) if isinstance(value, Tensor) and _needs_no_values(value) else value

    @staticmethod
    def _by_place(func: Any, args: Any) -> Any:
        """A mask as an index says how many are chosen: it becomes their places."""
        if func not in _INDEXING:
            return args
        chosen = args[1][0]
        if func is aten.index.Tensor and len(args[1]) == 1 and chosen.dtype == torch.bool:  # how many is enough
            return args[0].flatten(0, chosen.ndim - 1), [torch.zeros((), dtype=torch.long).expand(_count(chosen))]
        places: list[Tensor | None] = []
        for index in args[1]:
            places += index.nonzero().unbind(1) if index is not None and index.dtype == torch.bool else [index]
        return args[0], places, *args[2:]

    @staticmethod
    def _discrete(value: Any) -> Any:
        """Whole numbers and masks computed from shadows are real again, as zeros."""
        if not isinstance(value, Tensor) or value.is_floating_point() or _needs_no_values(value):
            return value
        return torch.zeros(value.shape, dtype=value.dtype)


def _needs_no_values(value: Tensor) -> bool:
    """Large, and no ids, positions, grids or mask of tokens, which decide shapes: those stay real however many there are."""
    of_pairs = value.is_floating_point() or (value.dtype == torch.bool and value.ndim > 2)
    return of_pairs and value.untyped_storage().nbytes() > LARGEST_REAL


def _is_large(func: Any, tensors: list[Tensor]) -> bool:
    """Whether element by element something large would be made of small tensors."""
    if torch.Tag.pointwise not in func.tags or func._schema.is_mutable:
        return False
    widest: torch.Size = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))  # type: ignore[no-untyped-call]
    return math.prod(widest) * max(tensor.element_size() for tensor in tensors) > LARGEST_REAL


def _count(mask: Tensor) -> int:
    """How many are chosen; an axis that only repeats the mask is not gone through."""
    repeated = [axis for axis in range(mask.ndim) if mask.stride(axis) == 0]
    once = mask[tuple(slice(1) if axis in repeated else slice(None) for axis in range(mask.ndim))]
    return int(once.count_nonzero()) * math.prod(mask.shape[axis] for axis in repeated)
