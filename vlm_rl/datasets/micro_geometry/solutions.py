"""Worked solutions: clean, with a slip that the solver notices and corrects, or with a slip that nobody notices."""

import enum
from dataclasses import dataclass

import numpy as np

from vlm_rl.datasets.micro_geometry.problems import Kind, Step

REFLECTIONS = ("Wait, check again", "Wait, re-check", "Wait, verify", "Wait, try again")


class Care(enum.Enum):
    """How careful the solver of one problem was."""

    CLEAN = enum.auto()
    CORRECTED = enum.auto()  # slips in the first step, says so, and repairs it
    UNCORRECTED = enum.auto()  # slips in the first step and carries on


@dataclass(frozen=True, kw_only=True)
class SolutionStyle:
    """Shares of solutions with a corrected and with an uncorrected slip; the rest is clean."""

    corrected: float
    uncorrected: float

    def draw(self, rng: np.random.Generator) -> Care:
        """How careful the next solver is."""
        number = rng.random()
        if number < self.corrected:
            return Care.CORRECTED
        return Care.UNCORRECTED if number < self.corrected + self.uncorrected else Care.CLEAN


def _line(step: Step, previous: int, value: int) -> str:
    return f"{step.lhs}={step.expression(previous)}={value}."


def worked_solution(kind: Kind, numbers: tuple[int, int], points: str, *, care: Care, reflection: str) -> str:
    """What was read, each step, and the boxed result; `reflection` is said where a slip is corrected."""
    steps = kind.steps(*numbers, points)
    first = steps[0]
    assert first.slip is not None
    given = [name.format(*points) for name in kind.given]
    lines = [f"{given[0]}={numbers[0]}, {given[1]}={numbers[1]}."]
    value = first.value(0)
    if care is not Care.CLEAN:
        lines.append(_line(first, 0, first.slip))
    if care is Care.CORRECTED:
        lines.append(f"{reflection}: {_line(first, 0, value)}")
    elif care is Care.UNCORRECTED:
        value = first.slip
    else:
        lines.append(_line(first, 0, value))
    for step in steps[1:]:
        lines.append(_line(step, value, step.value(value)))
        value = step.value(value)
    return " ".join(lines) + f" \\boxed{{{value}}}"
