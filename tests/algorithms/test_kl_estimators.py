"""k1, k2 and k3 against the exact divergence of small categorical distributions, by enumeration."""

import math

import pytest
import torch
from torch import Tensor

from vlm_rl.algorithms.kl import KL_ESTIMATORS, LOG_RATIO_LIMIT

pytestmark = pytest.mark.usefixtures("float64")
NAMES = ("k1", "k2", "k3")


def logits(seed: int, *, size: int = 6) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def divergence(left: Tensor, right: Tensor) -> Tensor:
    """KL(left, right) of two vectors of log-probabilities."""
    return (left.exp() * (left - right)).sum()


def gradient(value: Tensor, of: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(value, of)
    return found


def sample_gradients(name: str, policy: Tensor, reference: Tensor) -> Tensor:
    """Of each outcome, the gradient of its estimate with respect to the policy's logits; (outcome, logit)."""
    free = policy.clone().requires_grad_()
    values = KL_ESTIMATORS[name](free.log_softmax(0)[None], reference.log_softmax(0)[None])[0]
    return torch.stack([torch.autograd.grad(value, free, retain_graph=True)[0] for value in values])


def exact_gradients(policy: Tensor, reference: Tensor) -> dict[str, Tensor]:
    """What the mean gradient of each estimator is: nothing, that of KL(policy, reference), that of KL(reference, policy)."""
    free, fixed = policy.clone().requires_grad_(), reference.log_softmax(0)
    forward = gradient(divergence(free.log_softmax(0), fixed), free)
    backward = gradient(divergence(fixed, free.log_softmax(0)), free)
    return {"k1": torch.zeros_like(policy), "k2": forward, "k3": backward}


def test_the_three_by_hand() -> None:
    logprobs, ref = torch.tensor([[-1.0, -2.0, -0.5]]), torch.tensor([[-2.0, -1.0, -0.5]])
    found = {name: KL_ESTIMATORS[name](logprobs, ref)[0].tolist() for name in NAMES}
    expected = [math.exp(-1), math.e - 2, 0.0]
    assert found == {"k1": [1.0, -1.0, 0.0], "k2": [0.5, 0.5, 0.0], "k3": pytest.approx(expected)}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["k1", "k3"])
def test_the_mean_of_k1_and_of_k3_is_the_divergence(name: str, seed: int) -> None:
    policy, reference = logits(seed).log_softmax(0), logits(seed + 100).log_softmax(0)
    mean = (policy.exp() * KL_ESTIMATORS[name](policy[None], reference[None])[0]).sum()
    torch.testing.assert_close(mean, divergence(policy, reference), atol=0, rtol=1e-12)


def test_the_mean_of_k2_is_off_by_third_order_in_the_distance() -> None:
    reference, direction = logits(0), logits(1)
    errors, values = [], []
    for step in (0.2, 0.1, 0.05):
        policy, fixed = (reference + step * direction).log_softmax(0), reference.log_softmax(0)
        mean = (policy.exp() * KL_ESTIMATORS["k2"](policy[None], fixed[None])[0]).sum()
        values.append(divergence(policy, fixed).item())
        errors.append(abs(mean.item() - values[-1]))
    assert values[0] / values[1] == pytest.approx(4, rel=0.1)  # the divergence itself is of second order
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(8, rel=0.15)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NAMES)
def test_the_mean_gradient_is_none_that_of_the_divergence_or_that_of_its_mirror(name: str, seed: int) -> None:
    policy, reference = logits(seed), logits(seed + 100)
    mean = policy.softmax(0) @ sample_gradients(name, policy, reference)
    expected = exact_gradients(policy, reference)
    torch.testing.assert_close(mean, expected[name], atol=1e-14, rtol=1e-12)
    assert (expected["k2"] - expected["k3"]).norm() > 0.1 * expected["k2"].norm()  # so that one cannot pass for the other


@pytest.mark.parametrize("name", NAMES)
def test_inside_the_limit_of_the_log_ratio_nothing_is_bent(name: str) -> None:
    reference = torch.linspace(-0.999 * LOG_RATIO_LIMIT, 0.999 * LOG_RATIO_LIMIT, 101)[None]
    logprobs = torch.zeros_like(reference, requires_grad=True)
    found = KL_ESTIMATORS[name](logprobs, reference)
    d = reference
    values = {"k1": -d, "k2": d.square() / 2, "k3": d.exp() - d - 1}[name]
    slopes = {"k1": torch.ones_like(d), "k2": -d, "k3": 1 - d.exp()}[name]
    torch.testing.assert_close(found.detach(), values, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(gradient(found.sum(), logprobs), slopes, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_stay_finite_in_float32_when_policy_and_reference_are_far_apart(name: str) -> None:
    logprobs = torch.tensor([[-300.0, 0.0]], dtype=torch.float32, requires_grad=True)
    found = KL_ESTIMATORS[name](logprobs, torch.tensor([[0.0, -300.0]], dtype=torch.float32))
    assert found.isfinite().all()
    assert gradient(found.sum(), logprobs).isfinite().all()
