"""The two modes that make the logical GPU: one sees calls of torch's functions, one the operations that these consist of.

A function says what Python says: `device=`, `.to(...)`, `.numpy()`. An operation says what the GPU would do: whose memory it
reads and writes. In the backward pass torch leaves operations alone on; functions are seen where activations are computed again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from logical.findings import Findings
from logical.places import is_called_by
from logical.rules import COPIES, HEAVY, Op, has_cpu_index, makes_new, refused, waits
from logical.tags import CPU, GPU, names_gpu, on_gpu, put_on_gpu, take_off_gpu, tensors_in

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


class Operations(TorchDispatchMode):
    """Marks what operations on GPU tensors make, and records what CUDA would refuse or wait for."""

    def __init__(self, findings: Findings) -> None:
        super().__init__()
        self._findings = findings
        self.moving = False  # a move between devices runs, which is no operation of either
        self.inside_gpu_call = False  # memory without a device, made inside a function of GPU tensors, is the GPU's

    def __torch_dispatch__(self, func: Op, types: Sequence[type], args: Arguments = (), kwargs: Keywords | None = None) -> Any:
        """One operation, computed on the CPU."""
        kwargs = kwargs or {}
        tensors = [] if self.moving else list(tensors_in((*args, *kwargs.values())))
        if func.namespace == "c10d":
            self._check_collective(func, tensors)
        elif any(map(on_gpu, tensors)):
            return self._on_gpu(func, args, kwargs, tensors)
        elif tensors and func in HEAVY:
            self._findings.fault(f"{func} of CPU tensors, although there is a GPU")
        result = func(*args, **kwargs)
        if self.inside_gpu_call and not tensors and not self.moving:
            self._mark(func, result)
        return result

    def _on_gpu(self, func: Op, args: Arguments, kwargs: Keywords, tensors: list[Tensor]) -> Any:
        if strange := refused(func, args, tensors):
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in strange)
            self._findings.fault(f"{func} of GPU tensors and of CPU tensors of shape {shapes}")
        elif func in COPIES and any(not on_gpu(tensor) for tensor in tensors):
            self._copied(into_gpu=on_gpu(tensors[0]))
        if has_cpu_index(func, args):
            self._findings.slow("a CPU index of a GPU tensor")
        if why := waits(func, args, kwargs):
            self._findings.host_value(why)
        result = func(*args, **kwargs)
        self._mark(func, result)
        return result

    def _copied(self, *, into_gpu: bool) -> None:
        if into_gpu:
            self._findings.copy("copy_")
        else:
            self._findings.host_value("copy_ into a CPU tensor")

    @staticmethod
    def _mark(func: Op, result: Any) -> None:
        made = result if isinstance(result, (list, tuple)) else (result,)
        for index, value in enumerate(made):
            if makes_new(func, index):
                for tensor in tensors_in((value,)):
                    if tensor.device.type == "cpu":
                        put_on_gpu(tensor)

    def _check_collective(self, func: Op, tensors: list[Tensor]) -> None:
        """Objects go by gloo, and so does the tensor of a barrier; numbers go by NCCL."""
        if func is torch.ops.c10d.barrier.default or is_called_by("distributed_c10d.py", ("_object", "_object_list")):
            return
        if any(not on_gpu(tensor) for tensor in tensors):
            self._findings.fault(f"{func} of a CPU tensor, which NCCL does not take")


class Functions(TorchFunctionMode):
    """Answers what depends on the device, and moves tensors."""

    def __init__(self, operations: Operations, findings: Findings) -> None:
        super().__init__()
        self._operations, self._findings = operations, findings
        self._own: dict[Any, Callable[[Any, Arguments, Keywords], Any]] = {
            Tensor.device.__get__: lambda func, args, kwargs: GPU if on_gpu(args[0]) else func(*args),
            Tensor.is_cuda.__get__: lambda func, args, kwargs: on_gpu(args[0]),
            Tensor.is_cpu.__get__: lambda func, args, kwargs: not on_gpu(args[0]) and func(*args),
            Tensor.get_device: lambda func, args, kwargs: 0 if on_gpu(args[0]) else -1,
            Tensor.to: self._to,
            Tensor.cuda: lambda func, args, kwargs: self._move(args[0], to_gpu=True),
            Tensor.cpu: lambda func, args, kwargs: self._move(args[0], to_gpu=False),
            Tensor.pin_memory: lambda func, args, kwargs: args[0],
            Tensor.is_pinned: lambda func, args, kwargs: False,
            Tensor.numpy: self._numpy,
            Tensor.__array__: self._numpy,
            Tensor.tolist: self._tolist,
            Tensor.new_tensor: self._new_tensor,
            Tensor.backward: self._backward,
            Tensor.__deepcopy__: self._deepcopy,
            torch.as_tensor: self._as_tensor,
            torch.asarray: self._as_tensor,
        }

    def __torch_function__(self, func: Any, types: Sequence[type], args: Arguments = (), kwargs: Keywords | None = None) -> Any:
        """One call of a function of torch, or one look at an attribute of a tensor."""
        kwargs = kwargs or {}
        if (own := self._own.get(func)) is not None:
            return own(func, args, kwargs)
        if kwargs.get("device") is not None:
            return self._made(func, args, kwargs)
        return self._called(func, args, kwargs)

    def _called(self, func: Any, args: Arguments, kwargs: Keywords) -> Any:
        """Inside of a function no mode of ours sees Python, only operations."""
        before = self._operations.inside_gpu_call
        self._operations.inside_gpu_call = any(map(on_gpu, tensors_in((*args, *kwargs.values()))))
        try:
            return func(*args, **kwargs)
        finally:
            self._operations.inside_gpu_call = before

    def _made(self, func: Any, args: Arguments, kwargs: Keywords) -> Any:
        """A tensor with `device=`: computed on the CPU, marked if the GPU is meant."""
        to_gpu, device = names_gpu(kwargs["device"]), torch.device(kwargs["device"])
        made = self._called(func, args, kwargs | {"device": CPU if to_gpu else device})
        for tensor in tensors_in((made,)):
            if to_gpu and func is torch.tensor and tensor.numel():
                self._findings.copy("torch.tensor")
            (put_on_gpu if to_gpu else take_off_gpu)(tensor)
        return made

    def _to(self, func: Any, args: Arguments, kwargs: Keywords) -> Tensor:
        tensor, *others = args
        device = kwargs.pop("device", None)
        if others and isinstance(others[0], Tensor):
            device, others = GPU if on_gpu(others[0]) else CPU, [others[0].dtype, *others[1:]]
        elif others and (others[0] is None or isinstance(others[0], (str, torch.device, int))):
            device, others = others[0], others[1:]
        given = dict(zip(("dtype", "non_blocking", "copy"), others, strict=False)) | kwargs
        wanted = {name: value for name, value in given.items() if value not in (None, False) and name != "non_blocking"}
        if device is not None and not names_gpu(device) and torch.device(device).type != "cpu":
            return func(tensor, device, **wanted)  # the meta device
        changed: Tensor = self._called(func, (tensor,), wanted) if wanted else tensor
        return changed if device is None else self._move(changed, to_gpu=names_gpu(device))

    def _move(self, tensor: Tensor, *, to_gpu: bool) -> Tensor:
        if on_gpu(tensor) == to_gpu or tensor.device.type == "meta":
            return tensor
        if to_gpu and tensor.numel():
            self._findings.copy("a move to the GPU")
        elif tensor.numel():
            self._findings.host_value("a move to the CPU")
        self._operations.moving = True
        try:
            moved = tensor.clone()
        finally:
            self._operations.moving = False
        return put_on_gpu(moved) if to_gpu else take_off_gpu(moved)

    def _numpy(self, func: Any, args: Arguments, kwargs: Keywords) -> Any:
        if on_gpu(args[0]):
            self._findings.fault("numpy of a GPU tensor")
        return func(*args, **kwargs)

    def _tolist(self, func: Any, args: Arguments, kwargs: Keywords) -> Any:
        if on_gpu(args[0]):
            self._findings.host_value("tolist")
        self._operations.moving = True
        try:
            return func(*args, **kwargs)
        finally:
            self._operations.moving = False

    def _new_tensor(self, func: Any, args: Arguments, kwargs: Keywords) -> Tensor:
        """Its memory is made where no mode sees it."""
        device = kwargs.pop("device", GPU if on_gpu(args[0]) else CPU)
        made: Tensor = func(*args, **kwargs)
        if not names_gpu(device):
            return take_off_gpu(made)
        self._findings.copy("new_tensor")
        return put_on_gpu(made)

    def _as_tensor(self, func: Any, args: Arguments, kwargs: Keywords) -> Tensor:
        device = kwargs.pop("device", None)
        made: Tensor = func(*args, **kwargs)
        return made if device is None else self._move(made, to_gpu=names_gpu(device))

    def _deepcopy(self, func: Any, args: Arguments, kwargs: Keywords) -> Tensor:
        self._operations.moving = True
        try:
            made: Tensor = func(*args, **kwargs)
        finally:
            self._operations.moving = False
        return put_on_gpu(made) if on_gpu(args[0]) else made

    def _backward(self, func: Any, args: Arguments, kwargs: Keywords) -> None:
        """What formulas of gradients make without a word of a device is the GPU's, if the loss is."""
        before = self._operations.inside_gpu_call
        self._operations.inside_gpu_call = on_gpu(args[0])
        try:
            torch.autograd.backward(args[0], kwargs.pop("gradient", None), **kwargs)
        finally:
            self._operations.inside_gpu_call = before

    def computing_again(self, begin: Callable[..., None]) -> Callable[..., None]:
        """For the frames of `torch.utils.checkpoint`: Python that runs in the backward pass is seen as in the forward pass."""

        def begin_frame(frame: Any, recompute: Callable[..., object], *others: Any) -> None:
            def again(*args: Any) -> None:
                before, self._operations.inside_gpu_call = self._operations.inside_gpu_call, False
                try:
                    with self:
                        recompute(*args)
                finally:
                    self._operations.inside_gpu_call = before

            begin(frame, again, *others)

        return begin_frame
