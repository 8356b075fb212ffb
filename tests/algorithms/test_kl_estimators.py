"""k1, k2 and k3 against the exact divergence of small categorical distributions, by enumeration and by sampling."""

import math

import pytest
import torch
from torch import Tensor

from vlm_rl.algorithms.kl import KL_ESTIMATORS, LOG_RATIO_LIMIT, k1, k2, k3

pytestmark = pytest.mark.usefixtures("float64")
SAMPLES = 200_000
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
    assert k1(logprobs, ref)[0].tolist() == [1.0, -1.0, 0.0]
    assert k2(logprobs, ref)[0].tolist() == [0.5, 0.5, 0.0]
    assert k3(logprobs, ref)[0].tolist() == pytest.approx([math.exp(-1), math.e - 2, 0.0])


def test_the_table_names_them() -> None:
    assert {name: KL_ESTIMATORS[name] for name in NAMES} == {"k1": k1, "k2": k2, "k3": k3}


@pytest.mark.parametrize("seed", range(5))
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
        mean = (policy.exp() * k2(policy[None], fixed[None])[0]).sum()
        values.append(divergence(policy, fixed).item())
        errors.append(abs(mean.item() - values[-1]))
    assert values[0] / values[1] == pytest.approx(4, rel=0.1)  # the divergence itself is of second order
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(8, rel=0.15)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NAMES)
def test_the_mean_gradient_is_none_that_of_the_divergence_or_that_of_its_mirror(name: str, seed: int) -> None:
    policy, reference = logits(seed), logits(seed + 100)
    mean = policy.softmax(0) @ sample_gradients(name, policy, reference)
    expected = exact_gradients(policy, reference)
    torch.testing.assert_close(mean, expected[name], atol=1e-14, rtol=1e-12)
    assert (expected["k2"] - expected["k3"]).norm() > 0.1 * expected["k2"].norm()  # so that one cannot pass for the other


@pytest.mark.parametrize("name", NAMES)
def test_means_and_gradients_over_samples_agree_within_their_standard_errors(name: str) -> None:
    policy, reference = logits(3), logits(4)
    drawn = torch.multinomial(policy.softmax(0), SAMPLES, replacement=True, generator=torch.Generator().manual_seed(5))
    values = KL_ESTIMATORS[name](policy.log_softmax(0)[None], reference.log_softmax(0)[None])[0]
    exact = {"k1": values @ policy.softmax(0), "k2": values @ policy.softmax(0), "k3": values @ policy.softmax(0)}
    if name != "k2":  # its mean is that of another quantity
        exact[name] = divergence(policy.log_softmax(0), reference.log_softmax(0))
    assert abs(z_scores(values[drawn], exact[name])).max() < 4
    gradients = sample_gradients(name, policy, reference)[drawn]
    assert abs(z_scores(gradients, exact_gradients(policy, reference)[name])).max() < 4


def z_scores(samples: Tensor, expected: Tensor) -> Tensor:
    return (samples.mean(0) - expected) / (samples.std(0) / math.sqrt(len(samples)))


def test_k3_varies_less_than_k1_where_policy_and_reference_are_close() -> None:
    reference = logits(0)
    policy, fixed = (reference + 0.1 * logits(1)).log_softmax(0), reference.log_softmax(0)
    spread = {}
    for name in ("k1", "k3"):
        values = KL_ESTIMATORS[name](policy[None], fixed[None])[0]
        mean = policy.exp() @ values
        spread[name] = (policy.exp() @ (values - mean).square()).sqrt().item()
    assert spread["k3"] < 0.1 * spread["k1"]


def test_k2_and_k3_are_never_negative_and_zero_only_where_both_agree() -> None:
    difference = torch.linspace(-19, 19, 77)[None]
    for estimator in (k2, k3):
        values = estimator(difference, torch.zeros_like(difference))
        assert values[difference != 0].gt(0).all()
        assert values[difference == 0].eq(0).all()


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
