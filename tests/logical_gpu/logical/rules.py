"""CUDA's rules: what may meet in one operation, and which operations make the host wait."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from logical.tags import on_gpu

aten = torch.ops.aten
Op = torch._ops.OpOverload

# The host waits for the GPU: it must know a value, or how large the result is.
WAITING: dict[Op, str] = {
    aten._local_scalar_dense.default: "a number on the host (item, float, int, bool)",
    aten.nonzero.default: "nonzero",
    aten.masked_select.default: "masked_select",
    aten.equal.default: "torch.equal",
    aten.unique_dim.default: "unique",
    aten.unique_consecutive.default: "unique_consecutive",
    aten.unique_dim_consecutive.default: "unique_consecutive",
    aten._unique.default: "unique",
    aten._unique2.default: "unique",
    aten.bincount.default: "bincount",
}
INDEXING = {aten.index.Tensor, aten._unsafe_index.Tensor}
INDEX_WRITING = {aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default, aten._unsafe_index_put.default}
HEAVY = {  # a model that computes with these on the CPU was never moved
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten.convolution.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
}
COPIES = {aten.copy_.default, aten._foreach_copy_.default}
# Beside all that works number by number: a CPU tensor without axes is taken for a number.
TAKES_A_NUMBER = {
    aten.where.self,
    aten.masked_fill.Tensor,
    aten.masked_fill_.Tensor,
    aten.fill.Tensor,
    aten.fill_.Tensor,
    aten._foreach_mul.Tensor,
    aten._foreach_mul_.Tensor,
    aten._foreach_div.Tensor,
    aten._foreach_div_.Tensor,
    aten._foreach_add.Tensor,
    aten._foreach_add_.Tensor,
}


def waits(op: Op, args: Sequence[Any], kwargs: dict[str, Any]) -> str | None:
    """Why the host waits in an operation on GPU tensors; None where it does not."""
    if op in WAITING:
        return WAITING[op]
    if op is aten.repeat_interleave.Tensor and kwargs.get("output_size") is None:
        return "repeat_interleave by a tensor"
    if op in INDEXING and _has_mask(args[1]):
        return "a Boolean mask as index"
    if op in INDEX_WRITING and _has_mask(args[1]) and args[2].numel() > 1:  # one number is filled in without waiting
        return "a Boolean mask as index"
    return None


def _has_mask(indices: Sequence[Tensor | None]) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def refused(op: Op, args: Sequence[Any], tensors: Sequence[Tensor]) -> list[Tensor]:
    """The CPU tensors that CUDA would not take beside GPU tensors in this operation."""
    strange = [tensor for tensor in tensors if not on_gpu(tensor) and tensor.device.type == "cpu"]
    if not strange or op in COPIES:
        return []
    written = _written(op, args)
    if op in INDEXING:
        return [tensor for tensor in strange if tensor is args[0]]
    if op in INDEX_WRITING:
        return [tensor for tensor in strange if tensor is args[0] or (tensor is args[2] and tensor.dim() > 0)]
    if torch.Tag.pointwise in op.tags or op in TAKES_A_NUMBER:
        return [tensor for tensor in strange if tensor.dim() > 0 or any(tensor is other for other in written)]
    return strange


def has_cpu_index(op: Op, args: Sequence[Any]) -> bool:
    """A GPU tensor indexed by tensors of the CPU: allowed, and copied each time."""
    return op in INDEXING | INDEX_WRITING and any(index is not None and not on_gpu(index) for index in args[1])


def _written(op: Op, args: Sequence[Any]) -> list[Tensor]:
    """The tensors that an operation changes in place."""
    pairs = zip(op._schema.arguments, args, strict=False)
    changed = [arg for spec, arg in pairs if spec.alias_info is not None and spec.alias_info.is_write]
    return [arg for arg in changed if isinstance(arg, Tensor)]


def makes_new(op: Op, index: int) -> bool:
    """Whether the result at a place is new memory and not one of the arguments."""
    returns = op._schema.returns
    info = returns[min(index, len(returns) - 1)].alias_info if returns else None
    return info is None or not info.is_write
