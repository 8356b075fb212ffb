"""Runs a model's own code without weights: floating-point tensors are fake (shape and dtype, no memory), whole numbers and
masks are real. So grids, masks and positions decide shapes as they do in a run, whatever the family.

PyTorch's FakeTensorMode alone fakes whole numbers too, and cannot tell how many a mask chooses. Fake tensors pretend to be on the
CPU, whose attention kernel keeps what the fused CUDA kernels keep: no (query, key) matrix, a mask turned into the dtype of the queries.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from vlm_rl.models.quantization import with_constants
from vlm_rl.preflight.tracker import Tracker

LARGEST_REAL = 2**22  # bytes; larger masks of queries against keys become fake, as no shape depends on them
PRODUCT_IN_FOUR_BITS = "bitsandbytes.gemm_4bit.default"
BLOCKS_OF_BLOCKS = 256  # of a quantised weight's scales, that share one scale
aten = torch.ops.aten
_INDEXING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)


class _CPUMode(FakeTensorMode):  # type: ignore[no-untyped-call]
    avoid_device_init = True  # PyTorch asks at every operation, and would look for a GPU's driver each time


class FakeTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is on, operations on fake tensors make fake tensors, and the tracker records each."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tracker = Tracker()
        self._mode = _CPUMode()

    def replace(self, module: nn.Module) -> None:
        """Turns the meta tensors of a module into fake ones; shared ones stay shared.

        Whole numbers become ones, as a model may divide by them (sizes of tables), and masks all False.
        """
        known: dict[int, Tensor] = {}
        for part in module.modules():
            places: tuple[dict[str, Any], ...] = (part._parameters, part._buffers)
            for tensors in places:
                for name, value in tensors.items():
                    if value is not None and value.is_meta:
                        tensors[name] = known.setdefault(id(value), self._replaced(value))

    def _replaced(self, value: Tensor) -> Tensor:
        if not isinstance(value, nn.Parameter):
            is_float = value.is_floating_point()
            return self.fake(value) if is_float else torch.full(value.shape, value.dtype != torch.bool, dtype=value.dtype)
        made = nn.Parameter(self.fake(value.data), requires_grad=value.requires_grad)
        return with_constants(value, made, self.fake)

    def fake(self, value: Any) -> Any:
        """The fake tensor of a real one; anything else as it is."""
        if not isinstance(value, Tensor) or isinstance(value, FakeTensor):
            return value
        return FakeTensor(self._mode, value.to("meta"), torch.device("cpu"))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(isinstance(tensor, FakeTensor) for tensor in tensors):
            made = self._of_fake(func, args, kwargs)
        else:
            made = self._of_real(func, args, kwargs, tensors=tensors)
        self.tracker.record(func, args, kwargs, made)
        return made

    def _of_fake(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func is aten._local_scalar_dense.default:
            return 1.0  # a norm, a loss: finite, and no shape depends on it
        if str(func) == PRODUCT_IN_FOUR_BITS:
            with self:  # its parts are recorded
                return _by_parts(*args, **kwargs)
        if func._schema.is_mutable and isinstance(args[0], Tensor) and not isinstance(args[0], FakeTensor):
            return args[0]  # whole numbers computed from fake tensors, such as sampled ids: they stay what they were
        args, kwargs = tree_map(self.fake, (_by_place(func, args), kwargs))
        return tree_map(_discrete, func(*args, **kwargs))

    def _of_real(self, func: Any, args: Any, kwargs: Any, *, tensors: list[Tensor]) -> Any:
        """Real, except for new floating-point tensors and for what is large and needs no values: that is never made."""
        if not tensors or _is_large(func, tensors):
            fakes, named = tree_map(self.fake, (args, kwargs))
            with self._mode:
                made = func(*fakes, **named)
            if isinstance(made, Tensor) and (_needs_no_values(made) or (not tensors and made.is_floating_point())):
                return made
        real = func(*args, **kwargs)
        return tree_map(
            lambda value: self.fake(value) if isinstance(value, Tensor) and _needs_no_values(value) else value, real
        )


def _by_parts(
    inputs: Tensor,
    packed: Tensor,
    shape: list[int],
    absmax: Tensor,
    blocksize: int,
    quant_type: str,
    bias: Tensor | None = None,
    absmax_8bit: Tensor | None = None,
    absmax_code: Tensor | None = None,
    absmax_offset: Tensor | None = None,
) -> Tensor:
    """bitsandbytes' product with 4-bit weights as it is made of many rows: a block of plain weights, then their product.

    Of few rows a GPU's kernel makes no block. The names of the arguments are those of the operation.
    """
    ops = torch.ops.bitsandbytes
    if absmax_8bit is not None:
        absmax = ops.dequantize_blockwise(absmax_8bit, absmax, absmax_code, BLOCKS_OF_BLOCKS, torch.float32) + absmax_offset
    weight = ops.dequantize_4bit(packed, absmax, blocksize, quant_type, shape, inputs.dtype)
    return nn.functional.linear(inputs, weight, bias)


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


def _count(mask: Tensor) -> int:
    """How many are chosen; an axis that only repeats the mask is not gone through."""
    repeated = [axis for axis in range(mask.ndim) if mask.stride(axis) == 0]
    once = mask[tuple(slice(1) if axis in repeated else slice(None) for axis in range(mask.ndim))]
    return int(once.count_nonzero()) * math.prod(mask.shape[axis] for axis in repeated)


def _discrete(value: Any) -> Any:
    """Whole numbers and masks computed from fake tensors are real again, as zeros; bytes are weights in 4 bits."""
    if not isinstance(value, Tensor) or value.is_floating_point() or value.dtype == torch.uint8 or _needs_no_values(value):
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
