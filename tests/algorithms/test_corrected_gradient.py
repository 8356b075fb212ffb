"""The corrected gradient in expectation: sentences of two words out of three, whose second word depends on the first."""

from dataclasses import dataclass, fields, replace
from itertools import product

import torch
from every_algorithm import without_kl
from torch import Tensor
from trajectories import bare, mini_batch

from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.algorithms.rollout_correction import NoCorrection, RatioMask, RolloutCorrection, TruncatedImportanceSampling
from vlm_rl.types import Tokens, Trajectory

FREE = 1e6  # a bound that nothing here reaches


@dataclass(frozen=True, kw_only=True)
class Scored(PolicyGradient):
    """The score is the advantage."""

    def advantages(self, trajectory: Trajectory) -> Tokens:
        return trajectory.scores[:, None] * trajectory.response_mask


def scored(correction: RolloutCorrection) -> Scored:
    shared = [field.name for field in fields(PolicyGradient)]
    return Scored(**{name: getattr(without_kl("grpo", rollout_correction=correction), name) for name in shared})


NUM_WORDS = 3
TRAINER = torch.tensor(
    [[0.4, -0.3, 0.1], [1.0, 0.0, -1.0], [-0.5, 0.5, 0.2], [0.3, 0.1, 0.9]]
)  # logits: first word, then after each
ENGINE = TRAINER + torch.tensor([[0.9, -0.4, 0.1], [-0.8, 0.5, 0.3], [0.6, -0.6, 0.0], [0.2, 0.7, -0.9]])
REWARDS = torch.tensor([1.0, 0.2, 0.0, 0.5, 0.9, 0.1, 0.3, 0.0, 0.7])  # of the nine sentences
SENTENCES = torch.tensor(list(product(range(NUM_WORDS), repeat=2)))


def sentence_logprobs(logits: Tensor, sentences: Tensor) -> Tensor:
    """Of both words of each sentence."""
    table = logits.log_softmax(-1)
    first, second = sentences.unbind(1)
    return torch.stack([table[0, first], table[1 + first, second]], dim=1)


def estimate(correction: RolloutCorrection, sentences: Tensor, *, shares: Tensor) -> Tensor:
    """The gradient by the trainer's logits from sentences that the engine drew, each counted by its share."""
    logits = TRAINER.clone().requires_grad_()
    logprobs = sentence_logprobs(logits, sentences)
    rewards = REWARDS[sentences[:, 0] * NUM_WORDS + sentences[:, 1]]
    old, engine = logprobs.detach(), sentence_logprobs(ENGINE, sentences)
    trajectory = bare([2] * len(sentences), scores=rewards.tolist(), old=old, engine=engine)
    trajectory = replace(trajectory, rollout_weights=correction.weights(old - engine, trajectory.response_mask))
    algorithm = scored(correction)
    batch = mini_batch(trajectory, advantages=algorithm.advantages(trajectory), weights=shares[:, None].expand(-1, 2))
    loss = algorithm.loss(logprobs, batch).loss
    return torch.autograd.grad(loss, logits)[0]


def exact() -> Tensor:
    """Minus the gradient of the expected reward of the trainer's own sentences."""
    logits = TRAINER.clone().requires_grad_()
    probabilities = sentence_logprobs(logits, SENTENCES).sum(1).exp()
    return torch.autograd.grad(-(probabilities * REWARDS).sum(), logits)[0]


def under_the_engine(correction: RolloutCorrection) -> Tensor:
    """The mean of the estimate over all that the engine may write."""
    return estimate(correction, SENTENCES, shares=sentence_logprobs(ENGINE, SENTENCES).sum(1).exp())


def test_the_corrected_gradient_of_whole_responses_is_the_trainers_own_in_expectation() -> None:
    free = TruncatedImportanceSampling(level="sequence", max_ratio=FREE)
    torch.testing.assert_close(under_the_engine(free), exact(), atol=1e-7, rtol=1e-5)
    by_mask = RatioMask(level="sequence", min_ratio=0.0, max_ratio=FREE)
    torch.testing.assert_close(under_the_engine(by_mask), exact(), atol=1e-7, rtol=1e-5)


def apart(gradient: Tensor) -> float:
    """Distance from the trainer's own gradient, in units of its norm."""
    return float((gradient - exact()).norm() / exact().norm())


def test_token_level_and_truncation_are_nearer_than_nothing_but_not_exact() -> None:
    uncorrected = apart(under_the_engine(NoCorrection()))
    by_token = apart(under_the_engine(TruncatedImportanceSampling(level="token", max_ratio=FREE)))
    truncated = apart(under_the_engine(TruncatedImportanceSampling(level="sequence", max_ratio=1.5)))
    assert uncorrected > 0.5
    assert 0.01 < by_token < 0.8 * uncorrected
    assert 0.01 < truncated < 0.8 * uncorrected
