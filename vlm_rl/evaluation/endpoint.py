"""What a study is judged by, declared in its config before the first run: one split, one setting, one rule for the epoch, one plan."""

from dataclasses import dataclass

from vlm_rl.evaluation.settings import metric_name

FEWEST_SEEDS = 3  # from two a difference is computed, but nothing is claimed
COMPARED_DIGITS = 12  # decimals: sums of shares in another order differ from the 16th on


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """All else is secondary and is never called an improvement."""

    split: str
    setting: str  # name of a generation setting, as pass@1_t0.6
    picked_by: str  # the split whose accuracy under the same setting selects the epoch of each seed, the first of equals
    reference: str | None = None  # label or variant of the arm that others are compared with; None = each arm's vanilla model
    smallest_effect: float = 0.02  # delta, a share: a smaller difference would not change what one does
    planned_seeds: int | None = None  # of each arm; None: no number was fixed
    planned_looks: int = 1  # how often, at most, the study is judged as seeds come in; each look gets its part of the level

    def __post_init__(self) -> None:
        """Raise ValueError if the judged split selects its own epoch, or where the plan is none."""
        if not 0 < self.smallest_effect < 1:
            raise ValueError(
                f"evaluation.scheme.endpoint.smallest_effect={self.smallest_effect} must lie between 0 and 1: it is a share, "
                "0.02 is 2 points."
            )
        if self.planned_seeds is not None and self.planned_seeds < FEWEST_SEEDS:
            raise ValueError(
                f"evaluation.scheme.endpoint.planned_seeds={self.planned_seeds}: with fewer than {FEWEST_SEEDS} seeds nothing is judged. "
                f"Plan at least {FEWEST_SEEDS}, or null."
            )
        if self.planned_looks < 1:
            raise ValueError(f"evaluation.scheme.endpoint.planned_looks={self.planned_looks} must be at least 1.")
        if self.split == self.picked_by:
            raise ValueError(
                f"evaluation.scheme.endpoint: split={self.split} is judged at the epoch that {self.picked_by} selects, which is "
                "a maximum over epochs and grows by luck alone. Let picked_by name another split."
            )

    @property
    def selection_metric(self) -> str:
        """`val/pass@1_t0.6/accuracy`: the metric that selects the epoch."""
        return metric_name(self.picked_by, setting=self.setting)

    @property
    def name(self) -> str:
        """`test/pass@1_t0.6/accuracy`: the metric that is judged."""
        return metric_name(self.split, setting=self.setting)


def for_selection(accuracy: float) -> float:
    """An accuracy as epochs are compared by it, so that equals are equal in whatever order they were summed."""
    return round(accuracy, COMPARED_DIGITS)
