import math

import pytest
import torch

from vlm_rl.algorithms.kl import k1, k3
from vlm_rl.algorithms.returns import discounted_returns, last_token


def test_k3_by_hand() -> None:
    logprobs, ref = torch.tensor([[-1.0, -2.0, -0.5]]), torch.tensor([[-2.0, -1.0, -0.5]])
    assert k3(logprobs, ref)[0].tolist() == pytest.approx([math.exp(-1), math.e - 2, 0.0])
    assert k1(logprobs, ref)[0].tolist() == [1.0, -1.0, 0.0]


def test_k3_is_unbiased_for_the_divergence() -> None:
    generator = torch.Generator().manual_seed(0)
    policy, reference = (torch.randn(6, generator=generator, dtype=torch.float64).log_softmax(0) for _ in range(2))
    exact = (policy.exp() * (policy - reference)).sum()
    expected = (policy.exp() * k3(policy[None].float(), reference[None].float())[0]).sum()
    assert expected.item() == pytest.approx(exact.item(), rel=1e-5)


def test_k3_stays_finite_when_policy_and_reference_are_far_apart() -> None:
    assert k3(torch.tensor([[-300.0, 0.0]]), torch.tensor([[0.0, -300.0]])).isfinite().all()


def test_the_last_token_is_found_whatever_the_padding() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False], [True, False, False]])
    assert last_token(mask).nonzero().tolist() == [[0, 1], [1, 2], [3, 0]]


def test_returns_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, 4.0], [0.0, 2.0, 0.0]])
    assert discounted_returns(rewards, gamma=0.5).tolist() == [[2.0, 2.0, 4.0], [1.0, 2.0, 0.0]]
    assert discounted_returns(rewards, gamma=1.0).tolist() == [[5.0, 4.0, 4.0], [2.0, 2.0, 0.0]]
