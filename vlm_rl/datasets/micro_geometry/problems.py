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
class SecondStep:
    """What follows a sum: `lhs = expression = value`, from the value of the first step."""

    lhs: str
    expression: str  # with {0} for the first value
    value: Callable[[int], int]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of problem: what is given, how it is asked, how it is solved. {0} {1} {2} are the names of points."""

    name: str
    given: tuple[str, str]  # names of the two given quantities, as the solution writes them
    drawn: range  # of two numbers; the sum of both is the minuend where it subtracts
    max_total: int  # largest a + b, or largest minuend
    text: tuple[str, str, str]  # the question with the numbers {a} and {b} in it; the third is worded as no training row is
    vision: tuple[str, str, str]  # the same questions with the numbers left to the figure
    first: str  # what the first step finds: the sum of the two numbers
    subtracts: bool = False  # their difference instead, the first given minus the second
    second: SecondStep | None = None

    def answer(self, first_value: int) -> int:
        """The last value."""
        return self.second.value(first_value) if self.second else first_value


def needs_carry(first: int, second: int, *, subtracts: bool) -> bool:
    """Whether the units overflow: a carry in first + second, a borrow in first - second."""
    return first % 10 < second % 10 if subtracts else first % 10 + second % 10 >= 10


def exact_result(first: int, second: int, *, subtracts: bool) -> int:
    """The value of the first step."""
    return first - second if subtracts else first + second


def careless_result(first: int, second: int, *, subtracts: bool) -> int:
    """The canonical slip: a carry or borrow forgotten where it is needed, invented where it is not."""
    forgotten = needs_carry(first, second, subtracts=subtracts)
    return exact_result(first, second, subtracts=subtracts) + 10 * (1 if subtracts == forgotten else -1)


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


_SUPPLEMENT = SecondStep(lhs="x", expression="180-{0}", value=lambda total: 180 - total)
_PERIMETER = SecondStep(lhs="perimeter", expression="{0}+{0}", value=lambda half: 2 * half)
KINDS = (
    Kind(
        name="segment_sum",
        given=("{0}{1}", "{1}{2}"),
        drawn=range(11, 80),
        max_total=99,
        text=(
            "Point {1} lies on segment {0}{2}. {0}{1} = {a} and {1}{2} = {b}. Find {0}{2}.",
            "{0}{2} is made of {0}{1} = {a} and {1}{2} = {b}. How long is {0}{2}?",
            "How long is segment {0}{2}? Point {1} lies on it, {0}{1} = {a} and {1}{2} = {b}.",
        ),
        vision=(
            "Point {1} lies on segment {0}{2}. Read {0}{1} and {1}{2} from the figure. Find {0}{2}.",
            "{0}{2} is made of the two marked segments. How long is {0}{2}?",
            "How long is segment {0}{2}? Point {1} lies on it, read {0}{1} and {1}{2} from the figure.",
        ),
        first="{0}{2}",
    ),
    Kind(
        name="segment_difference",
        given=("{0}{2}", "{0}{1}"),
        drawn=range(11, 70),
        max_total=99,
        subtracts=True,
        text=(
            "Point {1} lies on segment {0}{2}. {0}{2} = {a} and {0}{1} = {b}. Find {1}{2}.",
            "{0}{1} = {b} is a part of {0}{2} = {a}. How long is {1}{2}?",
            "How long is segment {1}{2}? Point {1} lies on {0}{2}, {0}{2} = {a} and {0}{1} = {b}.",
        ),
        vision=(
            "Point {1} lies on segment {0}{2}. Read {0}{2} and {0}{1} from the figure. Find {1}{2}.",
            "{0}{1} is a part of {0}{2}, both are marked. How long is {1}{2}?",
            "How long is segment {1}{2}? Point {1} lies on {0}{2}, read {0}{2} and {0}{1} from the figure.",
        ),
        first="{1}{2}",
    ),
    Kind(
        name="line_angles",
        given=("left", "right"),
        drawn=range(15, 76),
        max_total=130,
        text=(
            "Three angles lie on a straight line. Left is {a} and right is {b} degrees. Find x.",
            "On a straight line x lies between {a} and {b} degrees. What is x?",
            "What is x? It lies on a straight line, left is {a} and right is {b} degrees.",
        ),
        vision=(
            "Three angles lie on a straight line. Two are marked in the figure. Find x.",
            "On a straight line x lies between the two marked angles. What is x?",
            "What is x? It lies on a straight line, two angles are marked in the figure.",
        ),
        first="sum",
        second=_SUPPLEMENT,
    ),
    Kind(
        name="triangle_angles",
        given=("left", "right"),
        drawn=range(15, 76),
        max_total=130,
        text=(
            "A triangle has the angles {a} and {b} degrees. Find the third angle x.",
            "In the triangle left is {a} and right is {b} degrees. What is x?",
            "What is the third angle x? The triangle has {a} and {b} degrees.",
        ),
        vision=(
            "A triangle has two marked angles. Find the third angle x.",
            "In the triangle two angles are marked. What is x?",
            "What is the third angle x? The triangle has two marked angles.",
        ),
        first="sum",
        second=_SUPPLEMENT,
    ),
    Kind(
        name="rectangle_perimeter",
        given=("width", "height"),
        drawn=range(11, 80),
        max_total=99,
        text=(
            "A rectangle has width {a} and height {b}. Find the perimeter.",
            "Width {a}, height {b}. What is the perimeter of the rectangle?",
            "What is the perimeter? The rectangle has width {a} and height {b}.",
        ),
        vision=(
            "A rectangle has the marked width and height. Find the perimeter.",
            "Width and height are marked. What is the perimeter of the rectangle?",
            "What is the perimeter? The rectangle has the marked width and height.",
        ),
        first="half",
        second=_PERIMETER,
    ),
)
