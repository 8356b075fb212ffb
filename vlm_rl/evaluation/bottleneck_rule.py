"""When a run ends early: its own training accuracy no longer rises. Not told: validation, test and other runs."""

from collections.abc import Sequence
from dataclasses import dataclass

ROUNDING = 1e-12  # a gain of exactly `gain` is one, whatever the rounding


@dataclass(frozen=True, kw_only=True)
class BottleneckRule:
    """The scheme's bottleneck, decided while a run is under way.

    An epoch is in the bottleneck if the best training accuracy of the last `epochs` epochs, this one among them, does not exceed the best
    of all epochs before them by `gain`. There must be one before them, and the epoch must not lie before `first_epoch`.
    """

    gain: float = 0.01  # share
    epochs: int = 5  # fewer end slow rises, too: benchmarks/bottleneck_rule.py
    first_epoch: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.gain < 1:
            raise ValueError(
                f"bottleneck.gain={self.gain} is no gain of accuracy: give a share above 0, as 0.01 for one point."
            )
        for name in ("epochs", "first_epoch"):
            if getattr(self, name) < 1:
                raise ValueError(f"bottleneck.{name}={getattr(self, name)}: give 1 or more.")

    def is_met(self, accuracies: Sequence[float]) -> bool:
        """Whether the last of these epochs is in the bottleneck; training accuracies of one run, as shares, from its first epoch on."""
        before, last = accuracies[: -self.epochs], accuracies[-self.epochs :]
        return bool(before) and len(accuracies) >= self.first_epoch and max(last) - max(before) < self.gain - ROUNDING

    def end(self, accuracies: Sequence[float], *, every_epochs: int) -> int | None:
        """The epoch at whose end a run ends: the first one that is evaluated and in the bottleneck; None where there is none."""
        evaluated = range(every_epochs, len(accuracies) + 1, every_epochs)
        return next((epoch for epoch in evaluated if self.is_met(accuracies[:epoch])), None)

    def check_epochs(self, epochs: int, *, every_epochs: int) -> None:
        """Raise ValueError where no run of so many epochs can end early."""
        first = max(self.epochs + 1, self.first_epoch)
        first += -first % every_epochs
        if first >= epochs:
            raise ValueError(
                f"With bottleneck.epochs={self.epochs}, bottleneck.first_epoch={self.first_epoch} and "
                f"evaluation.scheme.every_epochs={every_epochs} a run can end early after epoch {first} at the earliest, and "
                f"dataset.epochs={epochs}. Set dataset.epochs={first + 1} or more, make these smaller, or set bottleneck=none."
            )
