"""Weights for what an engine sampled from a slightly different distribution than the one that the trainer computes.

An engine rounds otherwise, quantises, or holds older weights. Its responses then are off-policy without anybody having asked for
it: Yao et al., 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training". The policy loss times
trainer(response) / engine(response) has the gradient under the trainer's own distribution; a token's own ratio has less variance and a
bias. docs/rollout_correction.md has the formulas.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch

from vlm_rl.algorithms.choices import check_choices
from vlm_rl.algorithms.kl import LOG_RATIO_LIMIT
from vlm_rl.types import Mask, Tokens

Level = Literal["token", "sequence"]


@runtime_checkable
class RolloutCorrection(Protocol):
    """How the ratios of trainer to engine become weights of the policy loss."""

    @property
    def level(self) -> Level | Literal["none"]:
        """What a weight belongs to: a token, a sequence, or none where nothing is corrected and `weights` is not called."""
        ...

    def weights(self, log_ratio: Tokens, mask: Mask) -> Tokens:
        """Of each token, without gradient, 0 off the mask; `log_ratio` is old (trainer's) less engine log-probability, nats."""
        ...


def importance_ratio(log_ratio: Tokens, mask: Mask, *, level: Level) -> Tokens:
    """trainer / engine: of each token, or their product over the response for every token of it; 0 off the mask.

    An engine that does not know a log-probability (NaN) gets no weight of 1: the loss is not finite and the update is skipped.
    """
    kept = torch.where(mask, log_ratio.detach(), torch.zeros_like(log_ratio))
    exponent = kept if level == "token" else kept.sum(1, keepdim=True).expand_as(kept)
    return torch.where(mask, exponent.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp(), torch.zeros_like(kept))


@dataclass(frozen=True, kw_only=True)
class NoCorrection:
    """Nothing is corrected; the difference between engine and trainer is only measured."""

    level: Literal["none"] = field(default="none", init=False)

    def weights(self, log_ratio: Tokens, mask: Mask) -> Tokens:
        """1 for every token that the policy wrote."""
        return mask.to(log_ratio.dtype)


@dataclass(frozen=True, kw_only=True)
class TruncatedImportanceSampling:
    """min(ratio, max_ratio): biased downwards where the trainer likes a token much more than the engine did, never of large variance."""

    level: Level
    max_ratio: float

    def __post_init__(self) -> None:
        check_choices(self, key="algorithm.rollout_correction")
        if not self.max_ratio >= 1:
            raise ValueError(
                f"algorithm.rollout_correction.max_ratio is {self.max_ratio}, but where engine and trainer agree the ratio is 1: "
                "set it to 1 or more (2 is usual)."
            )

    def weights(self, log_ratio: Tokens, mask: Mask) -> Tokens:
        """The ratio, cut off above."""
        return importance_ratio(log_ratio, mask, level=self.level).clamp_max(self.max_ratio)


@dataclass(frozen=True, kw_only=True)
class RatioMask:
    """The ratio itself between the bounds, 0 outside: tokens on which engine and trainer disagree are not learned from.

    The averages of the loss still count the masked tokens, so their gradient is lost and no other token gains weight.
    """

    level: Level
    min_ratio: float
    max_ratio: float

    def __post_init__(self) -> None:
        check_choices(self, key="algorithm.rollout_correction")
        if not 0 <= self.min_ratio <= 1 <= self.max_ratio:
            raise ValueError(
                f"algorithm.rollout_correction.min_ratio is {self.min_ratio} and .max_ratio is {self.max_ratio}, but where engine "
                "and trainer agree the ratio is 1: set 0 <= min_ratio <= 1 <= max_ratio (0.5 and 2 are usual)."
            )

    def weights(self, log_ratio: Tokens, mask: Mask) -> Tokens:
        """The ratio where it lies within the bounds, both included."""
        ratio = importance_ratio(log_ratio, mask, level=self.level)
        return torch.where((ratio < self.min_ratio) | (ratio > self.max_ratio), torch.zeros_like(ratio), ratio)
