r"""Pairs of a gold and the content of a `\boxed{}`, made from templates: what stands between « and » is drawn from a fixed seed.

a, b, c are different digits from 2 to 9; m, n different numbers of two digits; p, q different primes; d day, k month, y year, M the
name of the month, N that of the next; s, t names; w, v words; L, K, J letters; u a unit, U its long name, o another unit.
"""

import calendar
import random
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

WORDS = (
    "isosceles scalene equilateral acute obtuse right parallel perpendicular square rhombus trapezoid circle ellipse parabola "
    "yes no red green blue increase decrease north south east west Monday Tuesday Friday Paris London kangaroo beaver never "
    "always true false was saw dog god not ton"
)
NAMES = (("x", "y"), (r"\alpha", r"\beta"), ("AB", "CD"), ("X", "Y"), (r"\angle A", r"\angle B"), ("BC", "AD"))
UNITS = {"cm": "centimeters", "m": "meters", "kg": "kilograms", "km": "kilometers", "ft": "feet", "s": "seconds", "h": "hours",
         "N": "newtons", "L": "liters"}  # fmt: skip
MATHEMATICS = (
    "{}", "${}$", " {} ", "{}.", r"\left({}\right)", r"\({}\)", r"\boxed{{{}}}", r"\displaystyle {}", r"{}\,", "\\;{}", "{{{}}}", "{}\n",
)  # fmt: skip
AROUND = {  # by the heading of a section: what may stand around an answer
    "# wrapped as text": (*MATHEMATICS, r"\text{{{}}}", r"\mathrm{{{}}}"),
    "# wrapped as mathematics": MATHEMATICS,
    "# in dollars or plain": ("{}", "${}$"),
}


def wide(text: str) -> str:
    """The digits and signs at full width."""
    return "".join(chr(ord(sign) + 0xFEE0) if sign in "0123456789+-=()/" else sign for sign in text)


def drawn(draw: random.Random) -> dict[str, Any]:
    """A value for each name that a template may hold."""
    a, b, c = draw.sample(range(2, 10), 3)
    (m, n), (p, q) = draw.sample(range(11, 60), 2), draw.sample((2, 3, 5, 7, 11, 13), 2)
    month = draw.randint(1, 12)
    (s, t), (w, v), (u, o) = draw.choice(NAMES), draw.sample(WORDS.split(), 2), draw.sample(list(UNITS), 2)
    letters = dict(zip("LKJ", draw.sample("ABCDE", 3), strict=True))
    months = {"k": month, "M": calendar.month_name[month], "N": calendar.month_name[month % 12 + 1]}
    numbers = {"a": a, "b": b, "c": c, "m": m, "n": n, "p": p, "q": q, "d": draw.randint(13, 28), "y": draw.randint(1900, 2030)}
    return {**numbers, **months, **letters, "s": s, "t": t, "w": w, "v": v, "u": u, "U": UNITS[u], "o": o}


def filled(template: str, values: dict[str, Any]) -> str:
    """The template with the value of each expression in it."""

    def value(match: re.Match[str]) -> str:
        expression, _, form = match[1].partition(":") if "[" not in match[1] else (match[1], "", "")
        return format(eval(expression, {"Fraction": Fraction, "wide": wide}, values), form)

    return re.sub("«([^»]+)»", value, template).replace("‖", "|")


def pairs(name: str, *, draws: int) -> list[tuple[str, str]]:
    """Gold and answer: each answer of the file with golds and values drawn some times, without repetition."""
    return list(dict.fromkeys(_pairs(Path(__file__).with_name(name).read_text(encoding="utf-8"), draws=draws)))


def _pairs(text: str, *, draws: int) -> Iterator[tuple[str, str]]:
    around: tuple[str, ...] = ("{}",)
    for line in filter(None, text.splitlines()):
        if line.startswith("#"):
            around = AROUND.get(line, ("{}",))
            continue
        golds, _, answers = line.partition(" -> ")
        for answer in answers.split(" | "):
            draw = random.Random(f"{golds} {answer}")
            for _ in range(draws):
                values = drawn(draw)
                gold = values["GOLD"] = filled(draw.choice(golds.split(" ; ")), values)
                yield gold, draw.choice(around).format(filled(answer, values))
