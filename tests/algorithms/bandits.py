"""Policies so small that every batch of responses can be written down: what an algorithm does in expectation, exactly."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, product

import torch
from torch import Tensor
from trajectories import bare, learning, mini_batch

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.types import MiniBatch, select


@dataclass(frozen=True, kw_only=True)
class Bandit:
    """A softmax over the choices of each state, and all that can be said with them."""

    choices: tuple[int, ...]  # number of choices in each state
    responses: tuple[tuple[tuple[int, int], ...], ...]  # of each response, the (state, choice) of its tokens
    rewards: tuple[float, ...]  # of each response

    @property
    def num_logits(self) -> int:
        return sum(self.choices)

    @property
    def best(self) -> int:
        """The response of the highest reward."""
        return self.rewards.index(max(self.rewards))

    def token_logprobs(self, logits: Tensor) -> Tensor:
        """Of each response, one for each token; 0 to the right of it."""
        flat = torch.cat([state.log_softmax(0) for state in logits.split(self.choices)])
        starts = [sum(self.choices[:state]) for state in range(len(self.choices))]
        rows = [torch.stack([flat[starts[state] + choice] for state, choice in tokens]) for tokens in self.responses]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each response."""
        return self.token_logprobs(logits).sum(1).exp()

    def expected_reward(self, logits: Tensor) -> Tensor:
        """What training should raise."""
        return self.probabilities(logits) @ torch.tensor(self.rewards)


def one_token(*rewards: float) -> Bandit:
    """One token for each response."""
    tokens = tuple(((0, choice),) for choice in range(len(rewards)))
    return Bandit(choices=(len(rewards),), responses=tokens, rewards=rewards)


def short_or_long(*rewards: float) -> Bandit:
    """The first token ends the response or asks for a second one, of which there are two."""
    return Bandit(choices=(2, 2), responses=(((0, 0),), ((0, 1), (1, 0)), ((0, 1), (1, 1))), rewards=rewards)


@dataclass(frozen=True, kw_only=True)
class EveryBatch:
    """Every batch that can be drawn, side by side, each with the advantages and token weights that it has alone."""

    bandit: Bandit
    algorithm: Algorithm
    picks: Tensor  # (batch, response) -> which response of the bandit
    orders: Tensor  # (batch,) in how many orders it can be drawn
    batch: MiniBatch  # all batches, one below the other

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each batch under a policy; they add up to 1."""
        return self.orders * self.bandit.probabilities(logits)[self.picks].prod(1)

    def expected_loss(self, logits: Tensor, *, old: Tensor | None = None, factors: Tensor | None = None) -> Tensor:
        """The loss of each batch times its probability under `old` (itself if None) and a factor of its own, added up."""
        batch = self.batch
        probability = self.probabilities(logits.detach() if old is None else old)
        share = probability if factors is None else probability * factors
        if old is not None:
            batch = replace(batch, old_logprobs=self.bandit.token_logprobs(old)[self.picks.flatten()])
        weights = batch.token_weights * share.repeat_interleave(self.picks.shape[1])[:, None]
        logprobs = self.bandit.token_logprobs(logits)[self.picks.flatten()]
        return self.algorithm.loss(logprobs, replace(batch, token_weights=weights)).loss

    def expected_update(self, logits: Tensor, *, old: Tensor | None = None, factors: Tensor | None = None) -> Tensor:
        """Where gradient descent goes, on average over what can be drawn."""
        free = logits.clone().requires_grad_()
        return -torch.autograd.grad(self.expected_loss(free, old=old, factors=factors), free)[0]


def every_batch(
    algorithm: Algorithm, bandit: Bandit, *, num_queries: int = 1, drawn_under: Tensor | None = None, ref: Tensor | None = None
) -> EveryBatch:
    """All unordered batches of `num_queries` groups, all queries being the same one; `drawn_under` where KL is in the reward."""
    groups = list(combinations_with_replacement(range(len(bandit.rewards)), algorithm.group_size))
    batches = [[pick for group in chosen for pick in group] for chosen in product(groups, repeat=num_queries)]
    orders = [math.prod(num_orders(group) for group in chosen) for chosen in product(groups, repeat=num_queries)]
    flat = [pick for batch in batches for pick in batch]
    trajectory = bare(
        [len(bandit.responses[pick]) for pick in flat],
        scores=[bandit.rewards[pick] for pick in flat],
        old=None if drawn_under is None else bandit.token_logprobs(drawn_under)[flat],
        ref=None if ref is None else bandit.token_logprobs(ref)[flat],
    )
    advantages, weights = torch.zeros_like(trajectory.engine_logprobs), torch.zeros_like(trajectory.engine_logprobs)
    for rows in torch.arange(len(flat)).split(algorithm.group_size * num_queries):
        alone = learning(algorithm, select(trajectory, rows))
        width = alone.response_mask.shape[1]
        advantages[rows, :width], weights[rows, :width] = alone.advantages, alone.token_weights
    return EveryBatch(
        bandit=bandit,
        algorithm=algorithm,
        picks=torch.tensor(batches),
        orders=torch.tensor(orders, dtype=weights.dtype),
        batch=mini_batch(trajectory, advantages=advantages, weights=weights),
    )


def num_orders(group: tuple[int, ...]) -> int:
    """In how many orders these can be drawn one after the other."""
    return math.factorial(len(group)) // math.prod(math.factorial(count) for count in Counter(group).values())
