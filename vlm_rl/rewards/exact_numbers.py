r"""Plain numbers as exact fractions: integers, decimals, `a/b`, `\frac`, mixed and recurring ones, scientific notation, `two`.

The size of all arithmetic is bounded: an exponent has at most two digits (1e999999999 would have a billion), and the caller
bounds the length of a text. Digits are ASCII. No float is used.
"""

import re
from fractions import Fraction

UNSIGNED = r"(?:\d+(?:\.\d*)?|\.\d+)"
_SIGN = r"(?P<sign>[+-]?)\s*"
_DECIMAL = re.compile(rf"{_SIGN}(?P<digits>{UNSIGNED})", re.ASCII)
_SCIENTIFIC = re.compile(
    rf"{_SIGN}(?P<digits>{UNSIGNED})\s*(?:[eE]|(?:\\times|\\cdot|\*)\s*10\s*\^)\s*"
    r"(?P<brace>\{\s*)?(?P<exponent>[+-]?\d{1,2})(?(brace)\s*\})",
    re.ASCII,
)
_SLASH = re.compile(
    rf"{_SIGN}(?:(?P<whole>\d+)\s+)?(?P<top>{UNSIGNED})\s*/\s*(?P<bottom>-?{UNSIGNED})",
    re.ASCII,
)
_FRAC = re.compile(
    rf"{_SIGN}(?P<whole>\d*)\s*\\frac\s*(?:\{{\s*(?P<top>[+-]?{UNSIGNED})\s*\}}|(?P<top_digit>\d))"
    rf"\s*(?:\{{\s*(?P<bottom>[+-]?{UNSIGNED})\s*\}}|(?P<bottom_digit>\d))",
    re.ASCII,
)
_RECURRING = re.compile(rf"{_SIGN}(?P<digits>\d*\.\d*)\\(?:overline|dot|bar)\{{(?P<again>\d+)\}}", re.ASCII)
_POWER = re.compile(
    rf"{_SIGN}(?P<base>\d{{1,3}})\s*\^\s*(?P<brace>\{{\s*)?(?P<exponent>[+-]?\d{{1,2}})(?(brace)\s*\}})", re.ASCII
)
_SCALED = re.compile(
    rf"{_SIGN}(?P<digits>{UNSIGNED})\s+(?P<scale>hundred|thousand|million|billion|trillion)s?", re.ASCII | re.IGNORECASE
)
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_AND_SO_ON = re.compile(rf"{_SIGN}(?P<digits>\d*\.\d*?)(?P<again>\d)(?P=again){{2,}}\.\.\.", re.ASCII)  # 0.333...
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty"
)
_WORDS = _NUMBERS.split()


def exact_number(text: str) -> Fraction | None:
    """The value of `text`, or None where it is no plain number (an expression, other words, 1/0)."""
    if match := _DECIMAL.fullmatch(text):
        return _signed(Fraction(match["digits"]), sign=match["sign"])
    if match := _SCIENTIFIC.fullmatch(text):
        return _signed(Fraction(match["digits"]) * Fraction(10) ** int(match["exponent"]), sign=match["sign"])
    if match := _SLASH.fullmatch(text):
        return _ratio(match["top"], match["bottom"], whole=match["whole"], sign=match["sign"])
    if match := _FRAC.fullmatch(text):
        top, bottom = match["top"] or match["top_digit"], match["bottom"] or match["bottom_digit"]
        return _ratio(top, bottom, whole=match["whole"], sign=match["sign"])
    if (match := _POWER.fullmatch(text)) and int(match["base"]):
        return _signed(Fraction(int(match["base"])) ** int(match["exponent"]), sign=match["sign"])
    if match := _SCALED.fullmatch(text):
        return _signed(Fraction(match["digits"]) * _SCALES[match["scale"].casefold()], sign=match["sign"])
    if match := _RECURRING.fullmatch(text) or _AND_SO_ON.fullmatch(text):
        return _signed(_recurring(match["digits"], match["again"]), sign=match["sign"])
    return Fraction(_WORDS.index(text.casefold())) if text.casefold() in _WORDS else None


def _recurring(digits: str, again: str) -> Fraction:
    """`0.1` and `6` for 0.1666..."""
    shift = Fraction(1, 10 ** len(digits.partition(".")[2]))
    return Fraction(digits if digits.strip(".") else "0") + shift * Fraction(int(again), 10 ** len(again) - 1)


def _ratio(top: str, bottom: str, *, whole: str | None, sign: str) -> Fraction | None:
    if Fraction(bottom) == 0:
        return None
    if not whole:
        return _signed(Fraction(top) / Fraction(bottom), sign=sign)
    if not (top.isdigit() and bottom.isdigit()):
        return None  # 2\frac{1.5}{3} is no mixed number
    return _signed(int(whole) + Fraction(int(top), int(bottom)), sign=sign)


def _signed(magnitude: Fraction, *, sign: str) -> Fraction:
    return -magnitude if sign == "-" else magnitude
