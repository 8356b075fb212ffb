"""The precision of a forward pass: sampling and training must share it, or the ratio of their probabilities is not 1."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

Quantization = Literal["nf4"]  # of the language part's linear layers; see quantization.py


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How the matrix products are computed; what is trained stays float32, and so do its gradients and AdamW's moments."""

    autocast_to: torch.dtype | None  # None: in the precision of the weights
    base_is_raised: bool  # base weights are trained, in float32 above what they were loaded in

    def forward(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """The context of a forward on this device."""
        return contextlib.nullcontext() if self.autocast_to is None else torch.autocast(device.type, dtype=self.autocast_to)

    def even_out(self, vlm: PreTrainedModel) -> None:
        """Where base weights are trained, raises to float32 all that autocast does not round itself: only linear layers may stay.

        Norms, embeddings and convolutions of frozen parts would otherwise meet activations of the other dtype; some families
        (SmolVLM's merge of features, InternVL's connector) refuse that. Raised weights hold the same numbers.
        """
        if not self.base_is_raised:
            return
        linear = {id(module.weight) for module in vlm.modules() if isinstance(module, nn.Linear)}
        table = id(vlm.get_input_embeddings().weight)  # a tied head is raised with it
        for parameter in vlm.parameters():
            if id(parameter) == table or id(parameter) not in linear:
                raise_to_float32(parameter)

    def compact(self, reference: PreTrainedModel) -> None:
        """Halves a copy that only serves as reference: its linear layers go back to the precision that they were loaded in.

        Autocast would round them to it anyway, so no result changes; a head that is tied to the embeddings stays.
        """
        if self.autocast_to is None or not self.base_is_raised:
            return
        table = reference.get_input_embeddings().weight
        for module in reference.modules():
            if isinstance(module, nn.Linear) and module.weight is not table:
                module.to(self.autocast_to)


def raise_to_float32(parameter: nn.Parameter) -> None:
    """In place: whoever holds the parameter, as a tied head, has the raised one."""
    if parameter.dtype == torch.float32:
        return
    raised = nn.Parameter(parameter.detach().float(), requires_grad=parameter.requires_grad)
    if isinstance(parameter, DTensor):  # its `data` takes no other precision, and says nothing
        torch.utils.swap_tensors(parameter, raised)  # type: ignore[no-untyped-call]
    else:
        parameter.data = raised.data


def precision(vlm: PreTrainedModel, *, dtype: str, autocast: bool = False) -> Precision:
    """Autocast to `model.dtype` where base weights trained in full were raised above it, and where `autocast` asks for it.

    Adapters alone need none: then what they read is raised to float32, multiplied there, and rounded afterwards.
    """
    base = getattr(torch, dtype)
    raised = any(p.requires_grad and p.dtype != base for name, p in vlm.named_parameters() if ".lora_" not in name)
    is_on = raised or (autocast and base != torch.float32)
    return Precision(autocast_to=base if is_on else None, base_is_raised=raised)


def set_precision_of_products(*, tf32: bool) -> None:
    """For this process: whether NVIDIA GPUs round the factors of float32 products and convolutions to TF32 (10 bits behind the
    point, as float16 has; sums stay float32). The CPU is left as it is."""
    cpu = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    of_cpu = cpu.fp32_precision
    # The older setting: Lightning reads it at the start of training, and torch raises there if only the newer one is set to TF32.
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    cpu.fp32_precision = of_cpu
    torch.backends.cudnn.conv.fp32_precision = "tf32" if tf32 else "ieee"  # type: ignore[attr-defined]  # torch's own default is tf32


def declare(vlm: PreTrainedModel, *, folder: Path) -> None:
    """Makes the config of a saved model name the finest precision of its weights, so that plain loading rounds none of them.

    Transformers writes that of the first weight, which is a frozen one's where vision is frozen.
    """
    finest = max((p.dtype for p in vlm.parameters() if p.is_floating_point()), key=lambda dtype: dtype.itemsize)
    file = folder / "config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    for part in (settings, *(inner for inner in settings.values() if isinstance(inner, dict))):
        if "dtype" in part:
            part["dtype"] = str(finest).removeprefix("torch.")
    file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def checkpoint_activations(vlm: PreTrainedModel) -> None:
    """Each layer keeps its input alone; the backward pass computes the rest of its activations again."""
    vlm.activation_checkpointing_enable({"use_reentrant": False})
    vlm.enable_input_require_grads()
