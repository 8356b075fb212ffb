"""What an algorithm is: how scores become advantages, and how advantages become a loss."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from vlm_rl.algorithms.choices import check_choices
from vlm_rl.algorithms.dynamic_sampling import DynamicSampling
from vlm_rl.algorithms.rollout_correction import RolloutCorrection
from vlm_rl.masking import response_mean_weights
from vlm_rl.types import Mask, MiniBatch, Tokens, Trajectory


@dataclass(frozen=True, kw_only=True)
class AlgorithmLoss:
    """The loss of a micro-batch, and what it did to each token.

    `loss` is the micro-batch's share of the mini-batch's loss (token weights have done the averaging), so that the shares of
    all micro-batches and ranks add up to the same gradient however they were split.
    """

    loss: Float[Tensor, ""]
    kl: Tokens | None  # k3 against the reference, without gradient
    ratio: Tokens | None  # new over old probability, without gradient
    clipped: Mask | None  # True where the clip held the gradient back


@dataclass(frozen=True, kw_only=True)
class Algorithm(ABC):
    """One small file for each algorithm; these settings are common to all."""

    group_size: int  # responses for each query
    num_minibatches: int  # optimizer steps for each pass over a batch
    ppo_epochs: int  # passes over a batch
    learning_rate_scale: float  # times the model's learning rate
    rollout_correction: RolloutCorrection  # for what the engine samples from, where that is not what is trained
    dynamic_sampling: DynamicSampling | None  # None: every group is learned from, also those without spread
    minibatch_of: Literal["responses", "groups"] = "groups"  # what the shuffle keeps together
    old_logprobs: Literal["engine", "recompute"] = (
        "recompute"  # of the policy that sampled: as it said, or by a pass of the trainer
    )

    min_group_size: ClassVar[int] = 1  # responses for each query that the advantages need

    def __post_init__(self) -> None:
        check_choices(self, key="algorithm")
        self.check(self.group_size >= 1, "group_size", "1 or more", str(self.min_group_size))
        if self.group_size < self.min_group_size:
            raise ValueError(
                f"algorithm.group_size={self.group_size}, but {type(self).__name__} compares responses to one query: "
                f"set algorithm.group_size={self.min_group_size} or more."
            )
        self.check(self.num_minibatches >= 1, "num_minibatches", "1 or more", "1")
        self.check(self.ppo_epochs >= 1, "ppo_epochs", "1 or more", "1")
        self.check(self.learning_rate_scale >= 0, "learning_rate_scale", "0 or more", "1.0")

    def check(self, is_valid: bool, key: str, wanted: str, example: str) -> None:
        """Raise ValueError naming the config key, what it takes and an example, unless the value is valid."""
        if not is_valid:
            raise ValueError(f"algorithm.{key}={getattr(self, key)}; it is {wanted}. For example algorithm.{key}={example}.")

    @property
    def num_updates(self) -> int:
        """Optimizer steps of one generation step."""
        return self.num_minibatches * self.ppo_epochs

    def kept_together(self, num_responses: int) -> int:
        """Responses that come into one mini-batch together: a group, where that is wanted and mini-batches hold whole groups."""
        size = num_responses // self.num_minibatches
        return self.group_size if self.minibatch_of == "groups" and size % self.group_size == 0 else 1

    def queries_of_step(self, batch_size: int) -> int:
        """Queries that a generation step samples, where its update learns from `batch_size` of them."""
        return batch_size if self.dynamic_sampling is None else self.dynamic_sampling.num_queries(batch_size)

    @property
    def learns_from_own_responses(self) -> bool:
        """False where a teacher writes the responses; then there is no training accuracy to speak of."""
        return True

    @property
    def role(self) -> Literal["policy", "teacher"]:
        """The role of its runs in a report."""
        return "policy" if self.learns_from_own_responses else "teacher"

    @property
    def rewards_only_ended_responses(self) -> bool:
        """True where a response that was cut off has no score, so that a penalty for being cut off has no effect."""
        return False

    @property
    def needs_old_logprobs(self) -> bool:
        """With a single update the new log-probabilities, detached, are the old ones."""
        return self.num_updates > 1

    @property
    @abstractmethod
    def needs_reference(self) -> bool:
        """Whether a KL term needs the reference's log-probabilities."""

    @abstractmethod
    def advantages(self, trajectory: Trajectory) -> Tokens:
        """The advantage of each token, over the global batch; 0 off the mask."""

    @abstractmethod
    def loss(self, logprobs: Tokens, batch: MiniBatch) -> AlgorithmLoss:
        """The loss of a micro-batch under the new `logprobs`; `batch.token_weights` average it."""

    def loss_mask(self, trajectory: Trajectory) -> Mask:
        """The tokens that the loss averages over: all that the policy wrote, unless an algorithm leaves some out."""
        return trajectory.response_mask

    def token_weights(self, mask: Mask) -> Tokens:
        """The weight of each token in the average of a mini-batch: the mean of each response, then over responses, as Eq. 1."""
        return response_mean_weights(mask)
