"""The forward of a plain LoRA layer in three products, or in one; PEFT computes it in five operations."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn
from torch.nn.functional import linear

SUMMED_BYTES = 2**28  # of weights that are kept twice while responses are sampled


class LeanLinear(Linear):  # type: ignore[misc]  # PEFT declares no types here
    """`Linear` of PEFT with one adapter, no dropout and no variant. Weights, names and files are PEFT's."""

    summed: Tensor | None = None  # W + scaling B A, inside of `summed_weights`

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """W x + scaling B A x; PEFT's own forward where the adapter is off, merged, or asked for something else."""
        if self.disable_adapters or self.merged or args or kwargs:
            result: Tensor = super().forward(x, *args, **kwargs)
            return result
        if self.summed is not None:
            return linear(x, self.summed, self.base_layer.bias)
        base: Tensor = self.base_layer(x)
        down, up, scaling = self._factors()
        low = linear(self._cast_input_dtype(x, down.dtype), down)
        raised = base if base.dtype == low.dtype else base.to(low.dtype)
        whole = torch.addmm(raised.flatten(0, -2), low.flatten(0, -2), up.t(), alpha=scaling)
        return whole.view(base.shape).to(base.dtype)

    def _factors(self) -> tuple[Tensor, Tensor, float]:
        (name,) = self.active_adapters
        return self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]

    def sum_up(self) -> None:
        """Sets `summed`."""
        down, up, scaling = self._factors()
        self.summed = torch.addmm(self.base_layer.weight, up, down, alpha=scaling)


def make_lean(adapter: PeftModel) -> None:
    """Gives every plain LoRA layer the short forward."""
    for module in adapter.modules():
        if type(module) is Linear and type(module.base_layer) is nn.Linear and not module.lora_variant:
            module.__class__ = LeanLinear


@contextlib.contextmanager
def summed_weights(vlm: nn.Module) -> Iterator[None]:
    """Inside, adapted layers in float32 multiply once, by their weight and adapter added up: the same but for float32's rounding.

    In less precision the sum would lose small adapters. Nothing is done for models whose weights would be large to keep twice.
    """
    layers = [module for module in vlm.modules() if isinstance(module, LeanLinear)]
    weights = [layer.base_layer.weight for layer in layers]
    is_exact = all(w.dtype == torch.float32 and not torch.is_autocast_enabled(w.device.type) for w in weights)
    for layer in layers if is_exact and sum(w.nbytes for w in weights) <= SUMMED_BYTES else ():
        layer.sum_up()
    try:
        yield
    finally:
        for layer in layers:
            layer.summed = None
