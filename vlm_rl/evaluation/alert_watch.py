"""When an alert is raised: once for a condition, not at every step. A pure function: the same history gives the same alerts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

History = Sequence[Mapping[str, Any]]  # the "train" lines of metrics.jsonl, oldest first


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One warning: when, which rule, and what to do about it."""

    generation_steps: int
    name: str
    message: str


@runtime_checkable
class AlertRule(Protocol):
    """What is wrong at the last line of a history, with the value, the limit and what to do; None if nothing is."""

    def __call__(self, history: History) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Rules by name. A rule raises its alert once, and again only after its condition was absent for `quiet` steps in a row."""

    rules: Mapping[str, AlertRule]
    quiet: int

    def alerts(self, history: History, *, first: int = 0) -> list[Alert]:
        """The alerts at the lines from number `first` on; earlier lines only show which alerts were raised already."""
        found = [alert for name in self.rules for alert in self._alerts(history, name=name, first=first)]
        return sorted(found, key=lambda alert: alert.generation_steps)

    def _alerts(self, history: History, *, name: str, first: int) -> Iterator[Alert]:
        last_wrong = -self.quiet - 1
        for place in range(max(0, first - self.quiet), len(history)):
            message = self.rules[name](history[: place + 1])
            if message is None:
                continue
            if place >= first and place - last_wrong > self.quiet:
                yield Alert(generation_steps=history[place]["generation_steps"], name=name, message=message)
            last_wrong = place
