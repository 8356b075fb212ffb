"""The forward of a plain LoRA layer in three products: what PEFT computes in five operations and as many passes through memory."""

from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora.layer import Linear
from torch import Tensor


class LeanLinear(Linear):  # type: ignore[misc]  # PEFT declares no types here
    """`Linear` of PEFT with one adapter, no dropout and no variant. Weights, names and files are PEFT's."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """W x + scaling B A x; PEFT's own forward where the adapter is off, merged, or asked for something else."""
        if self.disable_adapters or self.merged or args or kwargs:
            result: Tensor = super().forward(x, *args, **kwargs)
            return result
        base: Tensor = self.base_layer(x)
        (name,) = self.active_adapters
        down, up = self.lora_A[name].weight, self.lora_B[name].weight
        low = torch.nn.functional.linear(self._cast_input_dtype(x, down.dtype), down)
        raised = base if base.dtype == low.dtype else base.to(low.dtype)
        whole = torch.addmm(raised.flatten(0, -2), low.flatten(0, -2), up.t(), alpha=self.scaling[name])
        return whole.view(base.shape).to(base.dtype)


def make_lean(adapter: PeftModel) -> None:
    """Gives every plain LoRA layer the short forward."""
    for module in adapter.modules():
        if type(module) is Linear and not module.lora_variant and not module.fan_in_fan_out:
            module.__class__ = LeanLinear
