"""Alert rules: functions of what training logs. They compare means over `window` steps, so that one odd batch raises no alert."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from vlm_rl.evaluation.alert_watch import History


@dataclass(frozen=True, kw_only=True)
class NonFiniteUpdate:
    """Optimizer steps of the last generation step had a NaN or infinite loss or gradient, and were skipped."""

    def __call__(self, history: History) -> str | None:
        skipped = history[-1].get("policy/skipped_updates")
        if not skipped:
            return None
        return (
            f"{skipped} updates of this step had a non-finite loss or gradient and were skipped (limit 0). "
            "Lower model.optimization.learning_rate, and look at the responses of this step."
        )


@dataclass(frozen=True, kw_only=True)
class RewardCollapse:
    """The reward has fallen far below its best earlier level, by more than the spread between steps explains."""

    window: int
    largest_loss: float  # share of the best level
    largest_fall_in_errors: (
        float  # standard errors of the difference; the best of many windows is high by chance, so well over 2
    )

    def __call__(self, history: History) -> str | None:
        rewards = values(history, "train/reward")
        if len(rewards) < 2 * self.window:
            return None
        now, earlier = rewards[-self.window :], rewards[: -self.window]
        starts = range(len(earlier) - self.window + 1)
        best = max((earlier[start : start + self.window] for start in starts), key=sum)
        level, highest = fmean(now), fmean(best)
        limit = highest - max(self.largest_loss * abs(highest), self.largest_fall_in_errors * difference_error(best, now))
        if level >= limit:
            return None
        return (
            f"Reward over the last {self.window} steps is {level:.3f}, after {highest:.3f} at its best (limit {limit:.3f}). "
            "Read the newest completions; go on from an earlier checkpoint with a lower learning rate or more KL."
        )


@dataclass(frozen=True, kw_only=True)
class NoRewardVariance:
    """Almost every group of answers got equal rewards, so there is almost nothing to learn from."""

    window: int
    largest_share: float  # of groups; a batch is one group where each question is answered once

    def __call__(self, history: History) -> str | None:
        share = recent(history, "train/frac_reward_zero_std", window=self.window)
        if share is None or share < self.largest_share:
            return None
        return (
            f"{share:.0%} of the groups of the last {self.window} steps had equal rewards (limit {self.largest_share:.0%}). "
            "The questions are too easy or too hard for this model, or the reward is constant: see `dry_run=rollouts`."
        )


@dataclass(frozen=True, kw_only=True)
class LengthExplosion:
    """Responses have become much longer than they were in the first steps."""

    window: int
    largest_factor: float

    def __call__(self, history: History) -> str | None:
        length, start = recent_and_first(history, "response_length/mean", window=self.window)
        if length is None or start is None or length <= self.largest_factor * start:
            return None
        return (
            f"Responses of the last {self.window} steps have {length:.0f} tokens, {length / start:.1f} times the {start:.0f} of the "
            f"first ones (limit {self.largest_factor:g} times). Read some: if they ramble or repeat, add the reward term `length` "
            "(with algorithm.score_at=last_token where that is a key)."
        )


@dataclass(frozen=True, kw_only=True)
class Truncation:
    """Responses are cut off at the limit of new tokens."""

    window: int
    largest_share: float

    def __call__(self, history: History) -> str | None:
        share = recent(history, "response_length/truncated", window=self.window)
        if share is None or share <= self.largest_share:
            return None
        return (
            f"{share:.0%} of the responses of the last {self.window} steps were cut off (limit {self.largest_share:.0%}). "
            "Raise dataset.max_new_tokens, or add the reward term `truncation` (with algorithm.score_at=last_token where that is a key)."
        )


@dataclass(frozen=True, kw_only=True)
class KlExplosion:
    """The policy has moved far away from the model that training began with."""

    window: int
    largest: float  # nats for each token, against the reference

    def __call__(self, history: History) -> str | None:
        kl = recent(history, "policy/kl", window=self.window)
        if kl is None or kl <= self.largest:
            return None
        return (
            f"KL to the reference over the last {self.window} steps is {kl:.3g} nats a token (limit {self.largest:g}). "
            "Lower the learning rate or raise algorithm.kl_loss_coef."
        )


@dataclass(frozen=True, kw_only=True)
class EntropyCollapse:
    """The policy almost always samples its most likely token."""

    window: int
    smallest_share: float  # of the entropy in the first steps

    def __call__(self, history: History) -> str | None:
        entropy, start = recent_and_first(history, "policy/entropy", window=self.window)
        if entropy is None or start is None or entropy >= self.smallest_share * start:
            return None
        return (
            f"Entropy over the last {self.window} steps is {entropy:.3g} nats a token, after {start:.3g} in the first ones (limit "
            f"{self.smallest_share:.0%} of that). Exploration has ended: lower the learning rate, or widen algorithm.clip_high."
        )


@dataclass(frozen=True, kw_only=True)
class EntropyExplosion:
    """The policy samples almost at random."""

    window: int
    largest_rise: float  # nats for each token, over the first steps

    def __call__(self, history: History) -> str | None:
        entropy, start = recent_and_first(history, "policy/entropy", window=self.window)
        if entropy is None or start is None or entropy <= start + self.largest_rise:
            return None
        return (
            f"Entropy over the last {self.window} steps is {entropy:.3g} nats a token, after {start:.3g} in the first ones (limit "
            f"+{self.largest_rise:g}). The policy becomes random: lower the learning rate or raise algorithm.kl_loss_coef."
        )


@dataclass(frozen=True, kw_only=True)
class JudgeFailures:
    """The judge ran out of time: those answers count as wrong, though some may be right."""

    window: int
    largest_share: float

    def __call__(self, history: History) -> str | None:
        share = recent(history, "judge/timed_out", window=self.window)
        if share is None or share <= self.largest_share:
            return None
        return (
            f"The judge timed out on {share:.1%} of the responses of the last {self.window} steps (limit {self.largest_share:.1%}). "
            "Look at those answers; raise reward.judge.timeout_s if they are real answers."
        )


@dataclass(frozen=True, kw_only=True)
class UnreadableAnswers:
    """The judge finds no answer that it can read."""

    window: int
    largest_share: float

    def __call__(self, history: History) -> str | None:
        share = recent(history, "judge/unparsable", window=self.window)
        if share is None or share <= self.largest_share:
            return None
        return (
            f"{share:.0%} of the responses of the last {self.window} steps hold no answer that the judge can read (limit "
            f"{self.largest_share:.0%}). Check the prompt, add the reward term `format`, and see whether responses are cut off."
        )


@dataclass(frozen=True, kw_only=True)
class EngineMismatch:
    """The engine's log-probabilities drift away from the trainer's; `parity.tolerance`, which stops the run, is wider."""

    window: int
    largest: float  # nats, mean over tokens

    def __call__(self, history: History) -> str | None:
        difference = recent(history, "rollout/logprob_difference_mean", window=self.window)
        if difference is None or difference <= self.largest:
            return None
        return (
            f"Engine and trainer differ by {difference:.3g} nats a token (limit {self.largest:g}). Likely causes: other weights, "
            "image sizes, precision or temperature in the engine."
        )


@dataclass(frozen=True, kw_only=True)
class LanguageDrift:
    """The policy writes more and more in scripts other than Latin and Greek."""

    window: int
    largest_rise: float  # of the mean share of foreign letters, over the first steps

    def __call__(self, history: History) -> str | None:
        share, start = recent_and_first(history, "language/foreign_share", window=self.window)
        if share is None or start is None or share <= start + self.largest_rise:
            return None
        return (
            f"{share:.1%} of the letters of the last {self.window} steps are neither Latin nor Greek, after {start:.1%} in the first "
            f"ones (limit +{self.largest_rise:.1%}). Raise the weight of the reward term `language`."
        )


def values(history: History, metric: str) -> list[float]:
    """The finite values of a metric, oldest first; metrics.jsonl says null for what is not a number."""
    found = (line.get(metric) for line in history)
    return [float(value) for value in found if isinstance(value, int | float) and math.isfinite(value)]


def recent(history: History, metric: str, *, window: int) -> float | None:
    """Mean over the last `window` lines, of the values that are there; None before so many lines, or without a value."""
    found = values(history[-window:], metric)
    return fmean(found) if found and len(history) >= window else None


def recent_and_first(history: History, metric: str, *, window: int) -> tuple[float | None, float | None]:
    """Mean over the last and over the first `window` lines; both None until they do not overlap."""
    if len(history) < 2 * window:
        return None, None
    return recent(history, metric, window=window), recent(history[:window], metric, window=window)


def difference_error(left: Sequence[float], right: Sequence[float]) -> float:
    """Standard error of the difference of two means of equally many independent values."""
    squares = sum(math.fsum((number - fmean(side)) ** 2 for number in side) for side in (left, right))
    return math.sqrt(squares / (max(1, len(left) - 1) * len(left)))
