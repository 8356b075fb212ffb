"""Bandits with a known optimum: the expected update of each algorithm, by enumeration of every batch that can be drawn."""

from collections.abc import Callable

import pytest
import torch
from bandits import Bandit, every_batch, one_token, short_or_long
from every_algorithm import POLICY_GRADIENTS, without_kl
from torch import Tensor

from vlm_rl.algorithms.algorithm import Algorithm

pytestmark = pytest.mark.usefixtures("float64")
GROUP = 4
BANDITS = {
    "three responses": one_token(0.0, 0.3, 1.0),
    "one right answer": one_token(0.0, 0.0, 1.0),
    "the best is long": short_or_long(0.3, 0.0, 1.0),
    "the best is short": short_or_long(1.0, 0.0, 0.3),
}


def grouped(name: str, **changes: object) -> Algorithm:
    """Groups of four, no KL term, and a length of 1 where the loss is divided by one."""
    unit: dict[str, object] = {"loss_length": 1} if name == "dr_grpo" else {}
    return without_kl(name, **{"group_size": GROUP} | unit | changes)


def gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    free = at.clone().requires_grad_()
    return torch.autograd.grad(function(free), free)[0]


def policies(bandit: Bandit) -> list[Tensor]:
    """Logits of the uniform policy and of two others not far from it."""
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.randn(bandit.num_logits, generator=generator) for scale in (0.0, 0.5, 0.5)]


@pytest.mark.parametrize("kind", ["the best is long", "the best is short"])
@pytest.mark.parametrize("name", POLICY_GRADIENTS)
def test_following_the_expected_update_ends_at_the_best_response(name: str, kind: str) -> None:
    bandit, logits = BANDITS[kind], torch.zeros(BANDITS[kind].num_logits)
    batches = every_batch(grouped(name), bandit)
    assert float(batches.probabilities(logits).sum()) == pytest.approx(1, abs=1e-12)
    for _ in range(50):
        logits = logits + batches.expected_update(logits)
    assert bandit.probabilities(logits)[bandit.best] > 0.9


@pytest.mark.parametrize("kind", BANDITS)
@pytest.mark.parametrize("name", ["rloo", "dr_grpo"])
def test_leave_one_out_is_the_policy_gradient_and_dr_grpo_g_minus_one_over_g_of_it(name: str, kind: str) -> None:
    bandit = BANDITS[kind]
    batches = every_batch(grouped(name, group_size=3), bandit, num_queries=2)
    for logits in policies(bandit):
        expected = (1 if name == "rloo" else 2 / 3) * gradient(bandit.expected_reward, logits)
        torch.testing.assert_close(batches.expected_update(logits), expected)


def spread(name: str, scores: Tensor) -> Tensor:
    """What an algorithm divides centred scores by, of each batch of one group; (batch,)."""
    if name in ("rloo", "dr_grpo"):
        return torch.ones(len(scores)) * ((GROUP - 1) / GROUP if name == "rloo" else 1)
    return scores.std(1, correction=0 if name == "reinforce_pp" else 1)


@pytest.mark.parametrize("kind", ["three responses", "one right answer"])
@pytest.mark.parametrize("name", POLICY_GRADIENTS)
def test_but_for_its_scale_each_is_the_policy_gradient_where_responses_have_one_token(name: str, kind: str) -> None:
    bandit = BANDITS[kind]
    batches = every_batch(grouped(name), bandit)
    factors = spread(name, torch.tensor(bandit.rewards)[batches.picks])
    for logits in policies(bandit):
        expected = (GROUP - 1) / GROUP * gradient(bandit.expected_reward, logits)
        torch.testing.assert_close(batches.expected_update(logits, factors=factors), expected)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("rloo", "three responses"), ("rloo", "the best is long"), ("rloo", "the best is short"), ("dr_grpo", "three responses")],
)
def test_responses_of_an_older_policy_teach_the_gradient_of_the_new_one_while_nothing_is_clipped(name: str, kind: str) -> None:
    bandit, wide = BANDITS[kind], {"clip_low": 0.99, "clip_high": 99.0}
    batches = every_batch(grouped(name, **wide), bandit)
    factor = 1.0 if name == "rloo" else (GROUP - 1) / GROUP
    for old, new in zip(policies(bandit), policies(bandit)[1:], strict=False):
        torch.testing.assert_close(batches.expected_update(new, old=old), factor * gradient(bandit.expected_reward, new))


def divergence(bandit: Bandit, left: Tensor, right: Tensor) -> Tensor:
    """KL between the responses of two policies."""
    logs = [bandit.token_logprobs(logits).sum(1) for logits in (left, right)]
    return logs[0].exp() @ (logs[0] - logs[1])


@pytest.mark.parametrize("kind", ["three responses", "the best is long"])
def test_with_kl_in_its_reward_leave_one_out_climbs_reward_less_divergence(kind: str) -> None:
    bandit = BANDITS[kind]
    ref, logits = policies(bandit)[1:]
    batches = every_batch(grouped("rloo", kl_reward_coef=0.4), bandit, drawn_under=logits, ref=ref)
    expected = gradient(lambda x: bandit.expected_reward(x) - 0.4 * divergence(bandit, x, ref), logits)
    torch.testing.assert_close(batches.expected_update(logits), expected)


@pytest.mark.parametrize("estimator", ["k2", "k3"])
@pytest.mark.parametrize("name", POLICY_GRADIENTS)
def test_the_kl_loss_alone_goes_back_to_the_reference(name: str, estimator: str) -> None:
    """k2 along the gradient of KL(policy, reference), k3 along that of KL(reference, policy); scores are equal."""
    bandit = one_token(0.5, 0.5, 0.5)
    ref, logits = policies(bandit)[1:]
    batches = every_batch(grouped(name, kl_loss_coef=0.3, kl_loss_estimator=estimator), bandit, ref=ref)
    assert batches.batch.advantages.eq(0).all()
    sides = {"k2": lambda x: divergence(bandit, x, ref), "k3": lambda x: divergence(bandit, ref, x)}
    torch.testing.assert_close(batches.expected_update(logits), -0.3 * gradient(sides[estimator], logits))
