"""What Python asks of `torch.cuda` and its like, answered as a machine with one GPU would."""

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import safetensors.torch
import torch

from logical.findings import Findings
from logical.tags import CPU, GPU, mark_storage, names_gpu, on_gpu, storage_on_gpu, tensors_in

MEMORY = 80 * 2**30
PEAK = 123_456_789  # bytes that `max_memory_allocated` tells: a number that is no process's


def nothing(*_: Any, **__: Any) -> None:
    """What needs no answer."""


def _cuda(findings: Findings) -> dict[str, Any]:
    return {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": nothing,
        "synchronize": lambda *_: findings.host_value("torch.cuda.synchronize"),
        "max_memory_allocated": lambda *_: PEAK,
        "memory_allocated": lambda *_: PEAK,
        "mem_get_info": lambda *_: (MEMORY, MEMORY),
        "reset_peak_memory_stats": nothing,
        "empty_cache": nothing,
        "get_device_name": lambda *_: "a logical GPU",
        "get_device_capability": lambda *_: (9, 0),
        "get_device_properties": lambda *_: SimpleNamespace(name="a logical GPU", major=9, minor=0, total_memory=MEMORY),
        "is_bf16_supported": lambda *_, **__: True,
        "is_current_stream_capturing": lambda: False,
        "manual_seed": nothing,
        "manual_seed_all": nothing,
        "get_rng_state": lambda *_: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": nothing,
    }


_ACCELERATOR: dict[str, Any] = {
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "current_accelerator": lambda *_, **__: torch.device("cuda"),
    "current_stream": lambda *_: SimpleNamespace(is_capturing=lambda: False),
}


class LogicalGenerator(torch.Generator):
    """A generator of the GPU draws on the CPU."""

    def __new__(cls, device: Any = "cpu") -> "LogicalGenerator":
        """Whatever the device."""
        return super().__new__(cls, CPU)


def _for_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of autocast: what is asked of "cuda" is asked of the CPU, which computes."""
    return lambda *args: function(*("cpu" if arg == "cuda" else arg for arg in args))


def _autocast_begins(original: Callable[..., None]) -> Callable[..., None]:
    def begin(self: torch.autocast, device_type: str, *args: Any, **kwargs: Any) -> None:
        original(self, "cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    return begin


def _grouped(original: Callable[..., dict[Any, Any]]) -> Callable[..., dict[Any, Any]]:
    """Optimizers and the clipping of gradients sort tensors by device, in C++."""

    def group(lists: list[list[Any]], with_indices: bool = False) -> dict[Any, Any]:
        found = original(lists, with_indices)
        first = {key: next(tensors_in(groups), None) for key, (groups, _) in found.items()}
        return {
            (GPU if first[key] is not None and on_gpu(first[key]) else key[0], key[1]): value for key, value in found.items()
        }

    return group


def _location(storage: Any) -> str | None:
    """For `torch.save`: where memory lies."""
    return str(GPU) if storage_on_gpu(getattr(storage, "_untyped_storage", storage)) else None


def _restored(storage: Any, location: str) -> Any:
    """For `torch.load`: memory that is to lie on the GPU."""
    if not names_gpu(location):
        return None
    mark_storage(getattr(storage, "_untyped_storage", storage), on=True)
    return storage


def _opened(original: Callable[..., Any]) -> Callable[..., Any]:
    """Of safetensors, which reads straight into the memory of a device."""

    @contextlib.contextmanager
    def opened(file: Any, *, device: Any = "cpu", **settings: Any) -> Iterator[SimpleNamespace]:
        with original(file, **settings) as found:
            yield SimpleNamespace(get_tensors=lambda: {name: value.to(device) for name, value in found.get_tensors().items()})

    return opened


@contextlib.contextmanager
def standing_in(findings: Findings) -> Iterator[None]:
    """Torch answers as with a GPU."""
    of_autocast = ("is_autocast_enabled", "get_autocast_dtype")
    begin, group = torch.autocast.__init__, torch._C._group_tensors_by_device_and_dtype
    registry = torch.serialization._package_registry
    with contextlib.ExitStack() as stack:
        for module, stand_ins in ((torch.cuda, _cuda(findings)), (torch.accelerator, _ACCELERATOR)):
            for name, stand_in in stand_ins.items():
                stack.enter_context(mock.patch.object(module, name, stand_in))
        for name in of_autocast:
            stack.enter_context(mock.patch.object(torch, name, _for_gpu(getattr(torch, name))))
        stack.enter_context(mock.patch.object(torch.autocast, "__init__", _autocast_begins(begin)))
        stack.enter_context(mock.patch.object(torch._C, "_group_tensors_by_device_and_dtype", _grouped(group)))
        stack.enter_context(mock.patch.object(torch, "Generator", LogicalGenerator))
        stack.enter_context(mock.patch.object(safetensors.torch, "safe_open", _opened(safetensors.torch.safe_open)))
        stack.enter_context(mock.patch.object(torch.serialization, "_package_registry", [(0, _location, _restored), *registry]))
        yield
