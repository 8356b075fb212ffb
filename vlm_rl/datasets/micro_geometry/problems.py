"""The kinds of problem of micro_geometry: two given numbers, a question, one or two steps of arithmetic.

Arithmetic decides what is in and out of distribution. A sum needs a carry when the units add to ten or more, a difference
needs a borrow when the units would go below zero: training and validation rows need one in a configured share of cases, test rows
always do. Half of the test rows are also worded as no training row is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

POINT_NAMES = ("ABC", "PQR", "XYZ", "KLM", "DEF")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line of a worked solution: `lhs = expression = value`; `slip` is the value a careless solver writes instead."""

    lhs: str
    expression: Callable[[int], str]  # from the value of the step before (for the first step: unused)
    value: Callable[[int], int]
    slip: int | None = None  # only the first step has one


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The question with the numbers in the text (`text`) and with the numbers left to the figure (`vision`)."""

    text: str
    vision: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of problem: what is given, how it is asked, how it is solved."""

    name: str
    given: tuple[str, str]  # names of the two given quantities, as the solution writes them; {0} {1} {2} are point names
    drawn: range  # of two numbers; the sum of both is the minuend where it subtracts
    max_total: int  # largest a + b, or largest minuend
    training: tuple[Wording, ...]
    held_out: Wording  # half of the test rows
    steps: Callable[[int, int, str], tuple[Step, ...]]
    subtracts: bool = False  # the first step is a difference (first given minus second) instead of a sum

    def wordings(self, *, test: bool) -> tuple[Wording, ...]:
        """How this kind is asked in a split."""
        return (self.training[0], self.held_out) if test else self.training


def needs_carry(first: int, second: int, *, subtracts: bool) -> bool:
    """Whether the units overflow: a carry in first + second, a borrow in first - second."""
    return first % 10 < second % 10 if subtracts else first % 10 + second % 10 >= 10


def careless_result(first: int, second: int, *, subtracts: bool) -> int:
    """The canonical slip: a carry or borrow forgotten where it is needed, invented where it is not."""
    result = first - second if subtracts else first + second
    forgotten = needs_carry(first, second, subtracts=subtracts)
    return result + 10 * (1 if subtracts == forgotten else -1)


def draw_numbers(kind: Kind, rng: np.random.Generator, *, carry: bool) -> tuple[int, int]:
    """The two given numbers (two digits each), with or without a carry; rejection sampling, so uniform over what is allowed."""
    while True:
        first, second = (int(n) for n in rng.integers(kind.drawn.start, kind.drawn.stop, size=2))
        if kind.subtracts:
            first, second = first + second, first
            allowed = first <= kind.max_total and first - second >= 20
        else:
            allowed = first + second <= kind.max_total
        if allowed and needs_carry(first, second, subtracts=kind.subtracts) == carry:
            return first, second


def _first_step(lhs: str, first: int, second: int, *, subtracts: bool = False) -> Step:
    sign, result = ("-", first - second) if subtracts else ("+", first + second)
    slip = careless_result(first, second, subtracts=subtracts)
    return Step(lhs=lhs, expression=lambda _: f"{first}{sign}{second}", value=lambda _: result, slip=slip)


def _supplement(first: int, second: int, points: str) -> tuple[Step, ...]:
    remainder = Step(lhs="x", expression=lambda total: f"180-{total}", value=lambda total: 180 - total)
    return _first_step("sum", first, second), remainder


def _perimeter(first: int, second: int, points: str) -> tuple[Step, ...]:
    doubled = Step(lhs="perimeter", expression=lambda half: f"{half}+{half}", value=lambda half: 2 * half)
    return _first_step("half", first, second), doubled


KINDS = (
    Kind(
        name="segment_sum",
        given=("{0}{1}", "{1}{2}"),
        drawn=range(11, 80),
        max_total=99,
        training=(
            Wording(
                text="Point {1} lies on segment {0}{2}. {0}{1} = {a} and {1}{2} = {b}. Find {0}{2}.",
                vision="Point {1} lies on segment {0}{2}. Read {0}{1} and {1}{2} from the figure. Find {0}{2}.",
            ),
            Wording(
                text="{0}{2} is made of {0}{1} = {a} and {1}{2} = {b}. How long is {0}{2}?",
                vision="{0}{2} is made of the two marked segments. How long is {0}{2}?",
            ),
        ),
        held_out=Wording(
            text="How long is segment {0}{2}? Point {1} lies on it, {0}{1} = {a} and {1}{2} = {b}.",
            vision="How long is segment {0}{2}? Point {1} lies on it, read {0}{1} and {1}{2} from the figure.",
        ),
        steps=lambda first, second, points: (_first_step(points[0] + points[2], first, second),),
    ),
    Kind(
        name="segment_difference",
        given=("{0}{2}", "{0}{1}"),
        drawn=range(11, 70),
        max_total=99,
        subtracts=True,
        training=(
            Wording(
                text="Point {1} lies on segment {0}{2}. {0}{2} = {a} and {0}{1} = {b}. Find {1}{2}.",
                vision="Point {1} lies on segment {0}{2}. Read {0}{2} and {0}{1} from the figure. Find {1}{2}.",
            ),
            Wording(
                text="{0}{1} = {b} is a part of {0}{2} = {a}. How long is {1}{2}?",
                vision="{0}{1} is a part of {0}{2}, both are marked. How long is {1}{2}?",
            ),
        ),
        held_out=Wording(
            text="How long is segment {1}{2}? Point {1} lies on {0}{2}, {0}{2} = {a} and {0}{1} = {b}.",
            vision="How long is segment {1}{2}? Point {1} lies on {0}{2}, read {0}{2} and {0}{1} from the figure.",
        ),
        steps=lambda first, second, points: (_first_step(points[1:], first, second, subtracts=True),),
    ),
    Kind(
        name="line_angles",
        given=("left", "right"),
        drawn=range(15, 76),
        max_total=130,
        training=(
            Wording(
                text="Three angles lie on a straight line. Left is {a} and right is {b} degrees. Find x.",
                vision="Three angles lie on a straight line. Two are marked in the figure. Find x.",
            ),
            Wording(
                text="On a straight line x lies between {a} and {b} degrees. What is x?",
                vision="On a straight line x lies between the two marked angles. What is x?",
            ),
        ),
        held_out=Wording(
            text="What is x? It lies on a straight line, left is {a} and right is {b} degrees.",
            vision="What is x? It lies on a straight line, two angles are marked in the figure.",
        ),
        steps=_supplement,
    ),
    Kind(
        name="triangle_angles",
        given=("left", "right"),
        drawn=range(15, 76),
        max_total=130,
        training=(
            Wording(
                text="A triangle has the angles {a} and {b} degrees. Find the third angle x.",
                vision="A triangle has two marked angles. Find the third angle x.",
            ),
            Wording(
                text="In the triangle left is {a} and right is {b} degrees. What is x?",
                vision="In the triangle two angles are marked. What is x?",
            ),
        ),
        held_out=Wording(
            text="What is the third angle x? The triangle has {a} and {b} degrees.",
            vision="What is the third angle x? The triangle has two marked angles.",
        ),
        steps=_supplement,
    ),
    Kind(
        name="rectangle_perimeter",
        given=("width", "height"),
        drawn=range(11, 80),
        max_total=99,
        training=(
            Wording(
                text="A rectangle has width {a} and height {b}. Find the perimeter.",
                vision="A rectangle has the marked width and height. Find the perimeter.",
            ),
            Wording(
                text="Width {a}, height {b}. What is the perimeter of the rectangle?",
                vision="Width and height are marked. What is the perimeter of the rectangle?",
            ),
        ),
        held_out=Wording(
            text="What is the perimeter? The rectangle has width {a} and height {b}.",
            vision="What is the perimeter? The rectangle has the marked width and height.",
        ),
        steps=_perimeter,
    ),
)
