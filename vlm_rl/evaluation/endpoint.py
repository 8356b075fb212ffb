"""What a study is judged by, declared in its config before the first run: one split, one setting, one rule for the epoch."""

from dataclasses import dataclass

from vlm_rl.evaluation.settings import metric_name

COMPARED_DIGITS = 12  # decimals: sums of shares in another order differ from the 16th on


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """All else is secondary and is never called an improvement."""

    split: str
    setting: str  # name of a generation setting, as pass@1_t0.6
    picked_by: str  # the split whose accuracy under the same setting selects the epoch of each seed, the first of equals
    reference: str | None = None  # label or variant of the arm that others are compared with; None = each arm's vanilla model

    def __post_init__(self) -> None:
        """Raise ValueError if the judged split selects its own epoch."""
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
