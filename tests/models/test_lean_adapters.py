"""The short forward of LoRA layers against PEFT's own."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn

from vlm_rl.models.lean_adapters import LeanLinear, make_lean, summed_weights


class Net(nn.Module):
    """Two linear layers, one with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(6, 8), nn.Linear(8, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x).tanh())


def adapted(dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """PEFT's own, and the same with the short forward."""
    torch.manual_seed(0)
    settings = LoraConfig(r=4, lora_alpha=12, target_modules=["up", "down"], init_lora_weights=False)
    plain = get_peft_model(Net().to(dtype), settings)
    lean = copy.deepcopy(plain)
    make_lean(lean)
    return plain, lean


def layers(net: nn.Module) -> list[nn.Module]:
    return [module for module in net.modules() if isinstance(module, Linear)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_are_those_of_peft(dtype: torch.dtype) -> None:
    plain, lean = adapted(dtype)
    assert [type(layer) for layer in layers(lean)] == [LeanLinear] * 2
    x = torch.randn(2, 5, 6, dtype=dtype)
    expected, found = plain(x), lean(x)
    assert found.dtype == expected.dtype
    rounding = 1e-6 if dtype == torch.float32 else 0.02
    assert torch.allclose(expected.float(), found.float(), atol=rounding, rtol=rounding)
    expected.float().square().sum().backward()
    found.float().square().sum().backward()
    for one, other in zip(plain.parameters(), lean.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None and other.grad is not None:
            assert torch.allclose(one.grad, other.grad, atol=20 * rounding, rtol=20 * rounding)


def test_switched_off_or_merged_it_is_pefts_own() -> None:
    plain, lean = adapted(torch.float32)
    x = torch.randn(3, 6)
    with plain.disable_adapter(), lean.disable_adapter():
        assert torch.equal(plain(x), lean(x))
    before = lean(x)
    for layer in layers(lean):
        layer.merge()
    assert torch.allclose(lean(x), before, atol=1e-5)
    copied = copy.deepcopy(lean)
    assert all(isinstance(layer, LeanLinear) for layer in layers(copied))


def test_in_float32_weights_and_adapters_are_added_up_and_in_less_precision_they_are_not() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        _, lean = adapted(dtype)
        x = torch.randn(2, 3, 6, dtype=dtype)
        expected = lean(x)
        with torch.no_grad(), summed_weights(lean):
            assert all((layer.summed is not None) == (dtype == torch.float32) for layer in layers(lean))
            assert torch.allclose(lean(x), expected, atol=1e-6)
            with lean.disable_adapter():
                off = lean(x)
        assert all(layer.summed is None for layer in layers(lean))
        with lean.disable_adapter():
            assert torch.equal(lean(x), off)


def test_what_is_no_plain_adapter_stays_as_it_is() -> None:
    net = get_peft_model(Net(), LoraConfig(r=2, target_modules=["up"], use_dora=True))
    make_lean(net)
    assert not any(isinstance(layer, LeanLinear) for layer in net.modules())
