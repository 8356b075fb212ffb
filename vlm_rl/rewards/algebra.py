"""Whether two expressions are equal: math-verify's parser, then exact constants and values at fixed points. Workers only.

Two constants are equal if their difference, relative to them, is below 10^-100, so that 10^-20 is not 10^-21. Expressions with
letters are equal if they are equal at several points: a polynomial identity that holds there holds everywhere.
"""

import hashlib
import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from vlm_rl.rewards.exact_numbers import exact_number
from vlm_rl.rewards.expressions import encoded

DIGITS = 40  # of a value
EXACT = 100  # digits in which equal irrational values agree
LARGEST = 100_000  # bits: a larger number equals only the same expression
POINTS = 6  # half of them have positive values only
DECIMALS, SIGNIFICANT = 6, 5  # to which a decimal is compared with an irrational number


class Unreadable(ValueError):
    """math-verify cannot parse the text."""


def equal(gold: Sequence[str], answer: Sequence[str]) -> bool:
    """Whether two expressions, or two relations (member, sign, member) with the same sign, are equal. Raises Unreadable."""
    if len(gold) == 1:
        return _same_expression(gold[0], answer[0])
    return _same_relation([parsed(gold[0]), parsed(gold[2])], [parsed(answer[0]), parsed(answer[2])], sign=gold[1])


@lru_cache(maxsize=1024)
def parsed(text: str) -> Any:
    """The expression, evaluated exactly as far as possible. Raises Unreadable."""
    latex = encoded(text)
    found = _parse(latex) if latex is not None else None
    if found is None or not hasattr(found, "free_symbols") or not hasattr(found, "evalf"):
        raise Unreadable(text)
    return found


def _parse(latex: str) -> Any:
    math_verify = importlib.import_module("math_verify")
    normalisation = math_verify.LatexNormalizationConfig(
        basic_latex=False, units=False, malformed_operators=False, nits=False, boxed="none", equations=False
    )
    extraction = math_verify.LatexExtractionConfig(boxed_match_priority=-1, normalization_config=normalisation)
    found = math_verify.parse(
        f"${latex}$",
        extraction_config=[extraction],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    return found[0] if found else None


def _same_expression(gold: str, answer: str) -> bool:
    ours, theirs = parsed(gold), parsed(answer)
    if ours == theirs:
        return True
    if not ours.free_symbols and not theirs.free_symbols:
        return _same_value(ours, theirs) or _rounds_to(gold, theirs) or _rounds_to(answer, ours)
    return _same_everywhere(ours, theirs)


def _same_value(ours: Any, theirs: Any) -> bool:
    """Whether two numbers are equal: exactly where both are rational, else to EXACT digits."""
    values = [_number(side) for side in (ours, theirs)]
    if not all(value.is_number and value.is_finite and _is_moderate(value) for value in values):
        return False  # for example 3!!!!
    difference = (ours - theirs).doit() if ours.is_rational and theirs.is_rational else ours - theirs
    if difference.is_Rational:
        return bool(difference == 0)
    size = max(map(abs, values))
    return bool(size == 0 or abs(difference.evalf(DIGITS, maxn=4 * EXACT)) <= size * _sympy().Float(10) ** -EXACT)


def _is_moderate(value: Any) -> bool:
    """Whether a number has at most LARGEST bits before and after its point."""
    return all(abs(part._mpf_[2]) < LARGEST for part in value.as_real_imag() if part.is_Float)


def _number(expression: Any) -> Any:
    return expression.evalf(DIGITS, maxn=4 * EXACT)


def _rounds_to(decimal: str, exact: Any) -> bool:
    """Whether a plain decimal is an irrational number rounded to 6 decimals, or 5 digits where it is smaller than 0.1."""
    value = exact_number(decimal)
    if value is None or "." not in decimal or exact.is_rational:
        return False
    number = _number(exact)
    if not number.is_real or not number.is_finite or number == 0:
        return False
    places = max(DECIMALS, SIGNIFICANT - 1 - int(_sympy().floor(_sympy().log(abs(number), 10))))
    ours = _sympy().Rational(value.numerator, value.denominator)
    return bool(round(_sympy().Float(ours, DIGITS), places) == round(number, places))


def _same_everywhere(ours: Any, theirs: Any) -> bool:
    """At all points where both have a value; at two of them at least."""
    known = _values(ours, theirs)
    return len(known) > 1 and all(_same_value(gold, answer) for gold, answer in known)


def _same_relation(ours: Sequence[Any], theirs: Sequence[Any], *, sign: str) -> bool:
    """Whether the differences of both sides are proportional; of an inequality by a positive factor."""
    gold, answer = ours[0] - ours[1], theirs[0] - theirs[1]
    if {symbol.name for symbol in gold.free_symbols} != {symbol.name for symbol in answer.free_symbols}:
        return False
    known = _values(gold, answer)
    if len(known) < 2 or any(value == 0 for pair in known for value in pair):
        return False
    factors = [gold_value / answer_value for gold_value, answer_value in known]
    is_positive = sign in ("=", r"\ne") or _number(factors[0]) > 0
    return bool(is_positive) and all(_same_value(factor, factors[0]) for factor in factors[1:])


def _values(ours: Any, theirs: Any) -> list[tuple[Any, Any]]:
    """Both values at the points where both have one."""
    pairs = [(_at(ours, point), _at(theirs, point)) for point in range(POINTS)]
    return [(gold, answer) for gold, answer in pairs if gold is not None and answer is not None]


def _at(expression: Any, point: int) -> Any:
    """The value at a point; None where it is not finite, or not real without the letter i in the expression."""
    there = expression.subs({symbol: _value(symbol.name, point) for symbol in expression.free_symbols})
    number = _number(there)
    if not (number.is_number and number.is_finite):
        return None
    return there if number.is_real or "i" in {symbol.name for symbol in expression.free_symbols} else None


def _value(name: str, point: int) -> Any:
    """A fraction between 1/4 and 4 for each name; in the second half of the points some are negative."""
    sympy = _sympy()
    if name == "i":
        return sympy.I
    digest = hashlib.sha256(f"{name} {point}".encode()).digest()
    size = sympy.Rational(256 + int.from_bytes(digest[:2], "big") % 3840, 1024 + digest[2])
    return -size if point >= POINTS // 2 and digest[3] % 2 else size


def _sympy() -> Any:
    return importlib.import_module("sympy")
