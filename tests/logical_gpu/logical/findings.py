"""What the logical GPU saw: faults, host values and copies, each with its place."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from logical.places import here


@dataclass(kw_only=True)
class Findings:
    """Counts by text; `host_values` of the package stand by function, those of libraries apart."""

    faults: Counter[str] = field(default_factory=Counter)  # what CUDA or NCCL would refuse
    host_values: Counter[str] = field(default_factory=Counter)  # the package waits for the GPU: "file:function | what, line"
    in_libraries: Counter[str] = field(default_factory=Counter)  # a library waits for it
    copies: Counter[str] = field(default_factory=Counter)  # from the CPU to the GPU

    def fault(self, what: str) -> None:
        """CUDA would raise here."""
        self.faults[f"{what} @ {here()}"] += 1

    def host_value(self, what: str) -> None:
        """The host waits here for the GPU."""
        place = here()
        if place.function:
            self.host_values[f"{place.function} | {what} @ {place.line}"] += 1
        else:
            self.in_libraries[f"{what} @ {place}"] += 1

    def slow(self, what: str) -> None:
        """CUDA takes it, and waits and copies each time: a fault in the package."""
        place = here()
        (self.faults if place.function else self.copies)[f"{what} @ {place}"] += 1

    def copy(self, what: str) -> None:
        """Numbers go to the GPU."""
        self.copies[f"{what} @ {here()}"] += 1

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {name: dict(counter) for name, counter in vars(self).items()}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Findings":
        """From a file."""
        return cls(**{name: Counter(counts) for name, counts in told.items()})
