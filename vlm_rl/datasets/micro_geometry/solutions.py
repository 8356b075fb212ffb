"""Worked solutions: without a slip, with a slip that is corrected, or with a slip that is not."""

import enum
from dataclasses import dataclass

import numpy as np

from vlm_rl.datasets.micro_geometry.problems import Kind, careless_result, exact_result

REFLECTIONS = ("Wait, check again", "Wait, re-check", "Wait, verify", "Wait, try again")


class Care(enum.Enum):
    """Whether a solution has a slip, and whether it is corrected."""

    CLEAN = enum.auto()
    CORRECTED = enum.auto()  # a slip in the first step, corrected
    UNCORRECTED = enum.auto()  # a slip in the first step, not corrected


@dataclass(frozen=True, kw_only=True)
class SolutionStyle:
    """Shares of solutions with a corrected and with an uncorrected slip; the rest is clean."""

    corrected: float
    uncorrected: float

    def draw(self, rng: np.random.Generator) -> Care:
        """The kind of the next solution."""
        number = rng.random()
        if number < self.corrected:
            return Care.CORRECTED
        return Care.UNCORRECTED if number < self.corrected + self.uncorrected else Care.CLEAN


def worked_solution(kind: Kind, numbers: tuple[int, int], points: str, *, care: Care, reflection: str) -> str:
    """The given numbers, each step and the boxed result; `reflection` precedes the correction of a slip."""
    sign, value = "-" if kind.subtracts else "+", exact_result(*numbers, subtracts=kind.subtracts)
    slip = careless_result(*numbers, subtracts=kind.subtracts)
    given = [name.format(*points) for name in kind.given]
    first = f"{kind.first.format(*points)}={numbers[0]}{sign}{numbers[1]}="
    lines = [f"{given[0]}={numbers[0]}, {given[1]}={numbers[1]}."]
    if care is not Care.CLEAN:
        lines.append(f"{first}{slip}.")
    if care is Care.UNCORRECTED:
        value = slip
    else:
        lines.append(f"{reflection}: " * (care is Care.CORRECTED) + f"{first}{value}.")
    if kind.second:
        lines.append(f"{kind.second.lhs}={kind.second.expression.format(value)}={kind.answer(value)}.")
    return " ".join(lines) + f" \\boxed{{{kind.answer(value)}}}"
