"""Which tensors lie on the logical GPU: a mark on their storage, so that views, slices and parameters share it."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
_MARK = "is_on_logical_gpu"  # the Python object of a storage lives as long as the storage


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # inside of vmap
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor.untyped_storage()


def on_gpu(tensor: Tensor) -> bool:
    """Whether the tensor counts as one of the GPU."""
    return storage_on_gpu(_storage(tensor))


def storage_on_gpu(storage: torch.UntypedStorage) -> bool:
    """The same of a bare storage, as `torch.save` writes it."""
    return getattr(storage, _MARK, False)


def put_on_gpu(tensor: Tensor) -> Tensor:
    """Marks the memory of a tensor."""
    mark_storage(_storage(tensor), on=True)
    return tensor


def take_off_gpu(tensor: Tensor) -> Tensor:
    """Takes the mark away."""
    mark_storage(_storage(tensor), on=False)
    return tensor


def mark_storage(storage: torch.UntypedStorage, *, on: bool) -> None:
    """Marks memory that no tensor has yet."""
    setattr(storage, _MARK, on)


def names_gpu(device: Any) -> bool:
    """Whether what stands for a device means the GPU: "cuda", 0, torch.device("cuda:0")."""
    if isinstance(device, int) and not isinstance(device, bool):
        return True
    return torch.device(device).type == "cuda"


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """All tensors of some arguments, also those in lists, tuples and dictionaries."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)
        elif isinstance(value, dict):
            yield from tensors_in(value.values())
