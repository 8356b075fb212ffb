"""How a preflight ends: what stands in the way of a run, and what it could not promise."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Filled in reading order."""

    problems: list[str] = field(default_factory=list)  # whole sentences: training would not start
    reservations: list[str] = field(default_factory=list)  # half sentences: it would start, but

    @property
    def sentence(self) -> str:
        """The last words of the page."""
        if self.problems:
            return "\n".join(["Training could not start:", *self.problems])
        if self.reservations:
            return f"Training could start, as far as was checked; {'; '.join(self.reservations)}."
        return "Training could start."
