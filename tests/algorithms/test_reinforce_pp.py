"""Eq. 1 of the paper against loops over single tokens in float64, and the cases in which it is easily got wrong."""

import math
from dataclasses import replace

import pytest
import torch
from every_algorithm import algorithm
from torch import Tensor
from trajectories import bare, learning, mini_batch, random_logprobs

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.algorithms.returns import last_token
from vlm_rl.types import Trajectory, select

LENGTHS = [3, 5, 1, 4]
SCORES = [1.0, 0.0, 1.0, -0.25]
TERMINATED = [True, True, True, False]


def reinforce(**changes: object) -> Algorithm:
    return algorithm("reinforce_pp", **{"num_minibatches": 1, "kl_loss_coef": 0.0} | changes)


def filled(**changes: object) -> Trajectory:
    trajectory = bare(LENGTHS, scores=SCORES, terminated=TERMINATED)
    old, ref = (random_logprobs(trajectory, seed=seed) for seed in (1, 2))
    return replace(trajectory, old_logprobs=old, ref_logprobs=ref, **changes)  # type: ignore[arg-type]


def advantages_by_hand(trajectory: Trajectory, *, gamma: float, beta: float, score_at: str) -> list[list[float]]:
    assert trajectory.old_logprobs is not None and trajectory.ref_logprobs is not None
    returns: list[list[float]] = []
    for i, length in enumerate(LENGTHS):
        row = []
        for t in range(length):
            total = 0.0
            for k in range(t, length):
                scored = k == length - 1 and (TERMINATED[i] or score_at == "last_token")
                penalty = float(trajectory.old_logprobs[i, k]) - float(trajectory.ref_logprobs[i, k])
                total += gamma ** (k - t) * ((SCORES[i] if scored else 0.0) - beta * penalty)
            row.append(total)
        returns.append(row)
    flat = [value for row in returns for value in row]
    mean = sum(flat) / len(flat)
    std = math.sqrt(sum((value - mean) ** 2 for value in flat) / len(flat))
    return [[(value - mean) / std for value in row] for row in returns]


def padded(rows: list[list[float]]) -> Tensor:
    return torch.tensor([row + [0.0] * (max(LENGTHS) - len(row)) for row in rows])


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize("score_at", ["eos", "last_token"])
def test_advantages_are_those_of_equation_1(gamma: float, beta: float, score_at: str) -> None:
    trajectory = filled()
    chosen = reinforce(gamma=gamma, kl_reward_coef=beta, score_at=score_at)
    expected = padded(advantages_by_hand(trajectory, gamma=gamma, beta=beta, score_at=score_at))
    torch.testing.assert_close(chosen.advantages(trajectory), expected, atol=2e-6, rtol=1e-5)


def test_a_response_cut_off_before_eos_gets_no_eos_reward() -> None:
    trajectory = bare([2, 2], scores=[1.0, 1.0], terminated=[True, False])
    assert reinforce().advantages(trajectory).tolist() == [[1.0, 1.0], [-1.0, -1.0]]
    assert reinforce(score_at="last_token").advantages(trajectory).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def loss_by_hand(
    logprobs: Tensor, trajectory: Trajectory, advantages: Tensor, *, low: float, high: float, beta: float
) -> float:
    assert trajectory.old_logprobs is not None and trajectory.ref_logprobs is not None
    responses = []
    for i, length in enumerate(LENGTHS):
        tokens = []
        for t in range(length):
            ratio = math.exp(float(logprobs[i, t]) - float(trajectory.old_logprobs[i, t]))
            clipped = min(max(ratio, 1 - low), 1 + high)
            advantage = float(advantages[i, t])
            d = float(trajectory.ref_logprobs[i, t]) - float(logprobs[i, t])
            tokens.append(-min(ratio * advantage, clipped * advantage) + beta * (math.exp(d) - d - 1))
        responses.append(sum(tokens) / length)
    return sum(responses) / len(responses)


def test_the_loss_is_that_of_equation_1_with_both_clips_and_the_kl_term() -> None:
    chosen = reinforce(clip_low=0.1, clip_high=0.3, kl_loss_coef=0.5)
    batch = learning(chosen, filled())
    logprobs = random_logprobs(batch, seed=3).requires_grad_()
    result = chosen.loss(logprobs, batch)
    expected = loss_by_hand(logprobs.detach(), batch, batch.advantages, low=0.1, high=0.3, beta=0.5)
    assert result.loss.item() == pytest.approx(expected, rel=1e-6)
    result.loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad[~batch.response_mask].eq(0).all()


@pytest.mark.parametrize("average", ["response", "token"])
@pytest.mark.parametrize("mask_truncated", [False, True])
def test_the_mean_is_over_responses_or_over_all_tokens_with_or_without_those_that_were_cut_off(
    average: str, mask_truncated: bool
) -> None:
    chosen = reinforce(kl_loss_coef=0.5, loss_average=average, mask_truncated=mask_truncated)
    batch = learning(chosen, filled())
    logprobs = random_logprobs(batch, seed=3)
    result = chosen.loss(logprobs, batch)
    rows = [i for i in range(4) if TERMINATED[i] or not mask_truncated]
    means = {}
    for i in rows:  # the loss of a response alone is the mean over its tokens
        row = select(batch, torch.tensor([i]))
        alone = replace(row, token_weights=row.response_mask / LENGTHS[i])
        part = chosen.loss(logprobs[i : i + 1, : LENGTHS[i]], alone)
        means[i] = float(part.loss)
    shares = {i: 1 / len(rows) if average == "response" else LENGTHS[i] / sum(LENGTHS[j] for j in rows) for i in rows}
    assert result.loss.item() == pytest.approx(sum(shares[i] * means[i] for i in rows), rel=1e-5)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_the_penalty_inside_of_the_reward_is_the_estimator_that_was_asked_for(estimator: str) -> None:
    # one response of two tokens with log-ratios 1 and -2 and another without any; score 0
    old, ref = torch.tensor([[-1.0, -3.0], [-1.0, -1.0]]), torch.tensor([[-2.0, -1.0], [-1.0, -1.0]])
    first, second = {"k1": (1.0, -2.0), "k2": (0.5, 2.0), "k3": (math.exp(-1), math.exp(2) - 3)}[estimator]
    trajectory = bare([2, 2], scores=[0.0, 0.0], old=old, ref=ref)
    found = reinforce(kl_reward_coef=0.1, kl_reward_estimator=estimator).advantages(trajectory)
    returns = torch.tensor([[-0.1 * (first + second), -0.1 * second], [0.0, 0.0]])
    expected = (returns - returns.mean()) / returns.std(correction=0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_both_sides_of_the_clip_hold_the_gradient_back_where_it_would_go_too_far() -> None:
    # ratios 1.5, 1.5, 0.5, 0.5, 1.1 with advantages +, -, +, -, +: only the first and the fourth are held
    ratios = torch.tensor([[1.5, 1.5, 0.5, 0.5, 1.1]])
    trajectory, advantages = bare([5], scores=[0.0], old=torch.zeros(1, 5)), torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0]])
    logprobs = ratios.log().requires_grad_()
    result = reinforce().loss(logprobs, mini_batch(trajectory, advantages=advantages, weights=torch.full((1, 5), 0.2)))
    assert result.clipped is not None
    assert result.clipped.tolist() == [[True, False, False, True, False]]
    assert result.loss.item() == pytest.approx(-(1.2 - 1.5 + 0.5 - 0.8 + 1.1) / 5)
    result.loss.backward()
    assert logprobs.grad is not None  # -weight x ratio x advantage where it is free
    assert logprobs.grad[0].tolist() == pytest.approx([0, 0.3, -0.1, 0, -0.22])


def test_what_the_algorithm_asks_for_follows_from_its_coefficients() -> None:
    assert not reinforce().needs_reference
    assert reinforce(kl_loss_coef=0.1).needs_reference
    assert reinforce(kl_reward_coef=0.1).needs_reference
    assert not reinforce().needs_old_logprobs
    assert reinforce(kl_reward_coef=0.1).needs_old_logprobs
    assert reinforce(num_minibatches=2).needs_old_logprobs
    assert reinforce(ppo_epochs=3).num_updates == 3


def test_the_last_token_is_found_whatever_the_padding() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False], [True, False, False]])
    assert last_token(mask).nonzero().tolist() == [[0, 1], [1, 2], [3, 0]]
