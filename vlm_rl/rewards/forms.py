r"""Answers that algebra would misread: ranges, dates, times, ratios, sequences, numbers in a base, products.

Each is recognised as a whole and equals its own kind only. Two kinds may also be a number: a ratio of two terms is a quotient, and
`180^\circ - 145^\circ` is an angle.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction

from vlm_rl.rewards.exact_numbers import UNSIGNED, exact_number
from vlm_rl.rewards.units import split_unit


@dataclass(frozen=True, kw_only=True)
class Form:
    """The kind of an answer and its content. Two forms are equal if both are the same."""

    kind: str
    content: tuple[object, ...]
    number: Fraction | None = field(default=None, compare=False)  # the same answer as a number: 2 : 3 is 2/3
    alternative: "Form | None" = field(default=None, compare=False)  # a second reading of an answer, for a gold of that kind

    def equals(self, other: "Form") -> bool:
        """Whether an answer of form `other` is equal; a time with a. m. or p. m. equals one without."""
        if other.alternative and other.alternative.kind == self.kind:
            other = other.alternative
        if not self.kind == other.kind == "clock" or (self.content[-1] is None) == (other.content[-1] is None):
            return self == other
        plain, marked = (self, other) if self.content[-1] is None else (other, self)
        hour, half = marked.content[0], marked.content[-1]
        assert isinstance(hour, int)
        return plain.content[:-1] in (marked.content[:-1], (hour % 12 + 12 * (half == "p"), *marked.content[1:-1]))


_NUMBER = rf"[+-]?{UNSIGNED}(?:\\?%)?"
_FACTOR = rf"{UNSIGNED}(?:\s+m|\s*(?:mm|cm|dm|km|in|ft|yd|inches|feet|units?))?"  # 4 cm x 8 cm
_TO = r"\s*(?:-{1,3}|\\sim|(?<![A-Za-z])(?:to|through|until)(?![A-Za-z]))\s*"
_RANGE = re.compile(
    rf"(?:from\s+)?(?P<low>{_NUMBER})(?P<unit>\s*(?:[A-Za-z]{{1,4}}|°|\^\\circ))?{_TO}(?P<high>{_NUMBER})", re.ASCII
)
_SEQUENCE = re.compile(r"(?P<first>\w{1,12})(?:\s*(?:->|-|\\to)\s*\w{1,12})+", re.ASCII)
_CLOCK = re.compile(
    r"(?:at\s+)?(?P<hour>[01]?\d|2[0-4])\s*(?:[:.]\s*(?P<minute>[0-5]\d)(?:\s*:\s*(?P<second>[0-5]\d))?)?\s*"
    r"(?P<half>[ap]\s*\.?\s*m\s*\.?)?(?P<oclock>\s*o'?clock)?",
    re.ASCII | re.IGNORECASE,
)
_DATE = re.compile(r"(?P<year>\d{4})\s*(?P<sign>[-/.])\s*(?P<month>\d{1,2})\s*(?P=sign)\s*(?P<day>\d{1,2})", re.ASCII)
_SHORT_DATE = re.compile(r"(?P<a>\d{1,2})\s*(?P<sign>[-/.])\s*(?P<b>\d{1,2})\s*(?P=sign)\s*(?P<year>\d{4}|\d{2})", re.ASCII)
_MONTHS = "january february march april may june july august september october november december"
_MONTH = "|".join(f"{month[:3]}(?:{month[3:]})?\\.?" if month[3:] else month for month in _MONTHS.split())
_NAMED_DATE = re.compile(
    rf"(?:(?P<month>{_MONTH})\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?|(?P<day2>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<month2>{_MONTH}))"
    r"(?:\s*,?\s*(?P<year>\d{4}))?",
    re.ASCII | re.IGNORECASE,
)
_TERM = rf"(?:{UNSIGNED}|[^:=<>,]{{1,40}})"
_RATIO = re.compile(rf"{_TERM}(?:\s*:\s*{_TERM}){{1,5}}")
_BASE = re.compile(
    r"(?P<open>\()?\s*(?P<digits>[0-9A-Za-z]+(?:\.[0-9A-Za-z]+)?)\s*(?(open)\))\s*(?:_\s*(?:\{\s*\(?\s*(?P<braced>\w+)\s*\)?\s*\}|(?P<digit>\d))"
    r"|,?\s*\(?\s*(?:in\s+)?base\s*-?\s*(?P<word>\w+)\s*\)?)",
    re.ASCII,
)
_PRODUCT = re.compile(rf"{_FACTOR}(?:\s*(?:\\times|\\cdot|\*|[xX])\s*{_FACTOR})+", re.ASCII)
_LARGEST_BASE = 36


def form_of(text: str, *, unit: str | None = None) -> Form | None:
    """The form of a normalised text, without name and `unit`; None for a number, words or algebra."""
    return moment(text) or _ratio(text) or _range(text, unit) or _sequence(text) or _base(text) or _product(text)


def moment(text: str) -> Form | None:
    """A date or a clock time."""
    return _date(text) or _clock(text)


def _date(text: str) -> Form | None:
    if match := _DATE.fullmatch(text):
        return _day(match["year"], match["month"], match["day"])
    if match := _SHORT_DATE.fullmatch(text):
        return Form(kind="short date", content=(int(match["a"]), int(match["b"]), int(match["year"])))
    if match := _NAMED_DATE.fullmatch(text):
        name = (match["month"] or match["month2"])[:3].casefold()
        month = 1 + [month[:3] for month in _MONTHS.split()].index(name)
        return _day(match["year"] or "0", str(month), match["day"] or match["day2"])
    return None


def _day(year: str, month: str, day: str) -> Form | None:
    numbers = int(year), int(month), int(day)
    return Form(kind="date", content=numbers) if 1 <= numbers[1] <= 12 and 1 <= numbers[2] <= 31 else None


def _clock(text: str) -> Form | None:
    """Hour, minute, second, a or p or None; `5.19` is a time only with a. m. or p. m."""
    match = _CLOCK.fullmatch(text)
    if not match or not (match["half"] or match["oclock"] or (match["minute"] and ":" in text)):
        return None
    half = match["half"] and match["half"][0].casefold()
    time = (int(match["hour"]), int(match["minute"] or 0), int(match["second"] or 0), half)
    return Form(kind="clock", content=time, alternative=None if half or (match["minute"] or "0")[0] == "0" else _ratio(text))


def _ratio(text: str) -> Form | None:
    if ":" not in text or not _RATIO.fullmatch(text):
        return None
    terms = [term.strip() for term in text.split(":")]
    values = [exact_number(term) for term in terms]
    known = [value for value in values if value is not None]
    if len(known) == len(terms) and known[0]:
        scaled = tuple(value / known[0] for value in known)
        return Form(kind="ratio", content=scaled, number=1 / scaled[1] if len(scaled) == 2 and scaled[1] else None)
    if any(re.search(r"(?<![\\A-Za-z])[A-Za-z]{3,}", term) for term in terms):
        return None
    return Form(kind="ratio of expressions", content=tuple("".join(term.split()) for term in terms))


def _range(text: str, unit: str | None) -> Form | None:
    match = _RANGE.fullmatch(text)
    if not match or (match["unit"] and split_unit(f"1 {match['unit'].strip()}")[1] not in {unit} - {None}):
        return None  # 2x - 3
    low, high = (exact_number(match[name].rstrip("%\\")) for name in ("low", "high"))
    has_degrees = (match["unit"] or "").strip() in ("°", r"^\circ")
    return Form(kind="range", content=(low, high), number=low - high if has_degrees and low and high else None)


def _sequence(text: str) -> Form | None:
    """At least three things joined by dashes, or two by arrows; `x - y - z` with lower-case letters is algebra."""
    arrows = r"\to" in text or "->" in text
    if not _SEQUENCE.fullmatch(text):
        return None
    things = [thing.strip() for thing in re.split(r"->|-|\\to", text)]
    if not arrows and (len(things) < 3 or re.search(r"(?<!\w)[a-z](?!\w)", text)):
        return None
    return Form(kind="sequence", content=tuple(things))


def _base(text: str) -> Form | None:
    match = _BASE.fullmatch(text)
    if not match:
        return None
    written = (match["braced"] or match["digit"] or match["word"]).casefold()
    base = exact_number(written) or 0
    digits = match["digits"].casefold().replace(".", "")
    is_number = any(map(str.isdigit, digits)) or (len(digits) > 1 and match["digits"].isupper())
    if not 2 <= base <= _LARGEST_BASE or not is_number or any(int(digit, 36) >= base for digit in digits):
        return None
    digits = match["digits"].casefold().lstrip("0") or "0"
    return Form(kind="base", content=(digits, base))


def _product(text: str) -> Form | None:
    """Dimensions, `4 \\times 8 \\times 12`; their order counts."""
    if not _PRODUCT.fullmatch(text):
        return None
    return Form(kind="product", content=tuple(map(Fraction, re.findall(UNSIGNED, text, re.ASCII))))
