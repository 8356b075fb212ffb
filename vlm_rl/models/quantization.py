"""A base model in 4 bits by bitsandbytes: NF4 with double quantisation, as in QLoRA (arXiv:2305.14314). Adapters stay in float32.

Quantised are the linear layers of the language part, which hold nearly all weights. As they were loaded stay the vision tower and the
connector (small, and run once for each image), embeddings and LM head (they decide on log-probabilities), norms and biases.
Transformers quantises while it loads. Here weights are loaded and checked first: the same numbers, random weights and shapes alone too.
"""

import importlib.util
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlm_rl.models.matrices import find_matrices
from vlm_rl.models.parts import find_parts
from vlm_rl.models.precision import Quantization

INSTALL = "pip install 'vlm-rl[nf4]'"
OF_PEFT = "is_loaded_in_4bit"  # the attribute of a model that PEFT asks for
CONSTANTS = ("absmax", "code", "offset")  # of bitsandbytes' QuantState


def check_library(quantization: Quantization | None) -> None:
    """Raise ValueError naming the command where bitsandbytes is asked for and is not installed."""
    if quantization is not None and importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            f"model.quantization={quantization} needs bitsandbytes, which is not installed here: {INSTALL}, or model.quantization=null."
        )


def quantise(vlm: PreTrainedModel) -> PreTrainedModel:
    """Replace the linear layers of the language part, in place and where they are. Raise ValueError for experts in one parameter."""
    part_of = find_parts(vlm).part_of
    matrices = [matrix for matrix in find_matrices(vlm) if part_of(matrix.path) == "language"]
    if experts := [matrix for matrix in matrices if matrix.kind == "experts"]:
        raise ValueError(
            f"model.quantization: {type(vlm).__name__} is a mixture of experts that are in one parameter for each layer "
            f"({experts[0].path}), which bitsandbytes does not quantise. Set model.quantization=null, or take a dense model (model.name)."
        )
    _make_tables()
    for matrix in matrices:
        if matrix.kind == "linear" and type(layer := vlm.get_submodule(matrix.path)) is nn.Linear:
            vlm.set_submodule(matrix.path, _in_four_bits(layer))
    setattr(vlm, OF_PEFT, True)
    return vlm


def _make_tables() -> None:
    """Quantise a block of zeros: bitsandbytes keeps the table that it makes then, which would have no values on the meta device."""
    from bitsandbytes.functional import quantize_4bit

    with torch.device("cpu"):
        quantize_4bit(torch.zeros(64), quant_type="nf4", compress_statistics=True)


def _in_four_bits(layer: nn.Linear) -> nn.Linear:
    from bitsandbytes.functional import quantize_4bit  # its import takes seconds
    from bitsandbytes.nn import Linear4bit, Params4bit

    how = {"quant_type": "nf4", "compress_statistics": True}
    packed, state = quantize_4bit(layer.weight.data, **how)
    made: nn.Linear = Linear4bit(
        layer.in_features, layer.out_features, bias=False, compute_dtype=layer.weight.dtype, device="meta", **how
    )
    made.weight = Params4bit(packed, requires_grad=False, quant_state=state, bnb_quantized=True, module=made, **how)
    made.bias, made.quant_state = layer.bias, state
    # Else a CPU with AVX512-BF16 repacks the weights at the first token that is sampled: rounded otherwise, and with no gradient.
    vars(made)["support_avx512bf16_for_cpu"] = False
    return made.train(layer.training)


def dequantise(vlm: PreTrainedModel) -> PreTrainedModel:
    """Make quantised layers plain ones again, in place: with the numbers that their forward multiplies with."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    for path, layer in list(vlm.named_modules()):
        if isinstance(layer, Linear4bit):
            plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
            plain.weight = nn.Parameter(dequantize_4bit(layer.weight.data, layer.quant_state), requires_grad=False)
            plain.bias = layer.bias
            vlm.set_submodule(path, plain.train(layer.training))
    setattr(vlm, OF_PEFT, False)
    return vlm


def constants(weight: Tensor) -> Iterator[Tensor]:
    """What undoes the quantisation of a weight, beside its packed numbers; nothing of a weight that is not quantised."""
    state = getattr(weight, "quant_state", None)
    for level in (state, getattr(state, "state2", None)):
        found = (getattr(level, name, None) for name in CONSTANTS)
        yield from (value for value in found if isinstance(value, Tensor))


def with_constants(weight: nn.Parameter, made: nn.Parameter, change: Callable[[Tensor], Tensor]) -> nn.Parameter:
    """`made` in the place of a weight, with what the weight has of constants, each changed."""
    if (state := getattr(weight, "quant_state", None)) is None:
        return made
    for level in filter(None, (state, state.state2)):
        for name in CONSTANTS:
            if isinstance(value := getattr(level, name, None), Tensor):
                setattr(level, name, change(value))
    vars(made)["quant_state"] = state
    return made
