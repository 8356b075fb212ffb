"""How the time of a step grows: one axis at a time, with the exponent b of time = a n^b.

The exponent is the slope of a straight line through log(time) over log(n), by least squares. Where a constant part is large it is below
the true one, so the last two points have an exponent of their own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import linear_regression, median
from typing import Any

from speed_case import SpeedCase

PHASES = {"step": "whole step", "I": "I", "II": "II", "III": "III", "IV": "IV"}
AXES: dict[str, Sequence[int]] = {
    "responses": (64, 128, 256, 512, 1024),
    "response tokens": (32, 64, 128, 256, 512),
    "image tokens": (50, 100, 200, 400, 800),
    "group size": (1, 2, 4, 8, 16, 32),
}


@dataclass(frozen=True, kw_only=True)
class Growth:
    """time = factor * n ** exponent."""

    factor: float
    exponent: float

    def at(self, n: float) -> float:
        """Seconds."""
        return self.factor * n**self.exponent


def fitted(sizes: Sequence[float], seconds: Sequence[float]) -> Growth:
    """The straight line through the logarithms."""
    line = linear_regression([math.log(n) for n in sizes], [math.log(s) for s in seconds])
    return Growth(factor=math.exp(line.intercept), exponent=line.slope)


def case_at(axis: str, n: int, *, around: SpeedCase) -> SpeedCase:
    """The case with one size changed. Group size: the number of responses stays, so there are fewer prompts."""
    around = replace(around, response_tokens=around.response_tokens or 64)
    if axis == "responses":
        return replace(around, num_prompts=n // around.group_size)
    if axis == "response tokens":
        return replace(around, response_tokens=n)
    if axis == "image tokens":
        return replace(around, image_tokens=n)
    return replace(around, group_size=n, num_prompts=around.num_responses // n)


def grown(
    measure: Callable[[SpeedCase], dict[str, Any]], *, around: SpeedCase, axes: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Seconds by axis, size and phase; `measure` runs a case and gives what speed_ours.py writes."""
    found: dict[str, Any] = {}
    for axis, sizes in axes.items():
        found[axis] = {}
        for n in sizes:
            found[axis][str(n)] = seconds_of(measure(case_at(axis, n, around=around)))
            print(f"{axis} {n}: {found[axis][str(n)]['step']:.2f} s", flush=True)
    return found


def seconds_of(told: dict[str, Any]) -> dict[str, float]:
    """The median of the measured steps, whole and by phase."""
    steps = told["steps"]
    phases = {name: median(step["phases"][name] for step in steps) for name in steps[0]["phases"]}
    return {"step": median(step["seconds"] for step in steps)} | phases


def table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A row for each axis and phase."""
    lines = [
        "| what grows | from, to | part | seconds, from and to | exponent | of the last two |",
        "|---|---|---|---|---:|---:|",
    ]
    for axis, by_size in found.items():
        sizes = [int(n) for n in by_size]
        for phase, words in PHASES.items():
            seconds = [by_size[str(n)][phase] for n in sizes]
            if min(seconds) <= 0:
                continue
            whole, last = fitted(sizes, seconds), fitted(sizes[-2:], seconds[-2:])
            lines.append(
                f"| {axis} | {sizes[0]:,}, {sizes[-1]:,} | {words} | {seconds[0]:.2f}, {seconds[-1]:.2f} | "
                f"{whole.exponent:.2f} | {last.exponent:.2f} |"
            )
    return "\n".join(lines)
