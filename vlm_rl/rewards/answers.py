r"""What a boxed text says: normalised, cut into parts, each with name (`x =`), unit and exact value where it has one.

Pure text, no mathematics beyond plain numbers; the rules are in judge.py's docstring. Every pattern is linear, and
nothing longer than MAX_LENGTH is read, so no text can make this slow.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from vlm_rl.rewards.boxed import has_box, last_boxed
from vlm_rl.rewards.exact_numbers import exact_number
from vlm_rl.rewards.units import split_unit

MAX_LENGTH = 300  # characters of a normalised answer; no gold of the paper's data is a tenth of it


@dataclass(frozen=True, kw_only=True)
class Part:
    """One element of an answer; most answers have one."""

    text: str  # normalised, without name and unit
    name: str | None  # what stands before `=`: x, BC, \angle A
    unit: str | None  # canonical name, None = none given
    value: Fraction | None  # exact, None = not a plain number

    @property
    def is_words(self) -> bool:
        """Whether it is text rather than mathematics: a run of four letters that no LaTeX command accounts for."""
        return r"\begin" not in self.text and bool(re.search(r"(?<![\\A-Za-z])[A-Za-z]{4,}", self.text))

    @property
    def is_equation(self) -> bool:
        """Whether an `=` is left after the name was taken off."""
        return "=" in self.text


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a boxed text says. No parts: nothing is there to judge."""

    parts: tuple[Part, ...]
    is_too_long: bool

    @property
    def text(self) -> str:
        """The whole of it for math-verify, without names and units."""
        return ", ".join(part.text for part in self.parts)


@lru_cache(maxsize=16384)
def read_gold(gold: str) -> Answer:
    r"""A gold answer: plain, LaTeX, or inside a `\boxed{}`."""
    return read_answer(last_boxed(gold)) if has_box(gold) else read_answer(gold)


def read_answer(boxed: str | None) -> Answer:
    r"""The content of a `\boxed{}`; None (no box) reads as an empty answer."""
    is_huge = len(boxed or "") > 10 * MAX_LENGTH  # not even normalised
    text = "" if is_huge or not boxed else normalise(boxed)
    is_too_long = is_huge or len(text) > MAX_LENGTH
    parts = () if is_too_long else tuple(_read_part(part) for part in _split(text))
    return Answer(parts=parts, is_too_long=is_too_long)


_COMMANDS = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|bigg?[lr]?|Bigg?[lr]?|limits|boxed|text(?:bf|it|rm|normal)?|math(?:rm|bf|it|sf|tt|normal)"
    r"|mbox|operatorname|bm|boldsymbol)(?![A-Za-z])"
)
_SPACES = re.compile(r"\\[;:> ]|\\q?quad(?![A-Za-z])|[~\s]+")
_REPLACED = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"(?<=\d)(?:\\,|\{,\}|,\\!|[\u2009\u202f])(?=\d)"), ","),  # ways to set 1,234
    (re.compile(r"(?<!\\)\\[!]"), ""),
    (re.compile(r"(?<!\\)\\[,]"), " "),
    (re.compile(r"\\?\$|(?<!\\)\\[()\[\]]"), ""),  # dollars are delimiters or a currency
    (re.compile(r"\\(?:approx|simeq)(?![A-Za-z])|[≈≃]"), "="),
    (re.compile(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)|√\s*\(([^()]*)\)|√\s*(\d+)"), r"\\sqrt{\1\2\3}"),
)
_CHARACTERS = str.maketrans(
    {
        "\u2212": "-", "\u2013": "-", "\u2014": "-", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "º": "°", "˚": "°",
        "²": "^2", "³": "^3", "×": r"\times ", "·": r"\cdot ", "÷": "/", "π": r"\pi ", "±": r"\pm ", "∠": r"\angle ",
    }
)  # fmt: skip
_WRAPPED = re.compile(r"(?<![\\A-Za-z0-9_^}])\{([^{}]*)\}")  # braces that no command, power or index needs
_THOUSANDS = re.compile(r"(?<![\d.,(\[])\d{1,3}(?:,\d{3})+(?!\d|,\d)", re.ASCII)


def normalise(text: str) -> str:
    r"""One spelling for what looks the same: spaces, sizes, fonts, `\text{}`, `$`, thousands separators, final stop."""
    for pattern, replacement in _REPLACED[:2]:
        text = pattern.sub(replacement, text)
    text = text.translate(_CHARACTERS)
    for pattern, replacement in _REPLACED[2:]:
        text = pattern.sub(replacement, text)
    text = _COMMANDS.sub(" ", text)
    text = _SPACES.sub(" ", text)
    text = _WRAPPED.sub(r" \1 ", _WRAPPED.sub(r" \1 ", text))
    text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    return re.sub(r" +", " ", text).lstrip(" ;:,").rstrip(" .;:,\\")


_SEPARATOR = re.compile(
    r"(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<cut>[,;]|\\\\|\\(?:lor|land|vee|wedge)(?![A-Za-z])|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])"
    r"|(?<=\d)\s+(?=[\d.]))"
)


def _split(text: str) -> list[str]:
    """The parts of a list or a choice: cut at commas, `or`, `and`, or a space between numbers, outside all brackets."""
    if not text or r"\begin" in text or exact_number(text) is not None:
        return [text] if text else []
    parts, depth, start = [], 0, 0
    for match in _SEPARATOR.finditer(text):
        depth = max(0, depth + bool(match["open"]) - bool(match["close"]))
        if match["cut"] and depth == 0:
            parts.append(text[start : match.start()])
            start = match.end()
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


_NAME = re.compile(
    r"(?:m\s*)?(?:\\(?:angle|measuredangle|triangle|overline|widehat|overarc)\s*)*\{?\s*"
    r"(?:[A-Za-z][A-Za-z' ]{0,39}|\\(?!pi\b)[a-zA-Z]{2,10})\s*\}?"
    r"(?:\s*_\s*(?:\{\s*\w+\s*\}|\w))?(?:\s*\(\s*[a-z]\s*\))?"
)
_BRACKETED = re.compile(r"^\s*\(([^(),]*)\)$")
_LETTERS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]")


_DEGREE_SIGN = re.compile(r"\s*(?:\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\})|\\degree(?![A-Za-z])|°)")
_TRIGONOMETRIC_DEGREES = re.compile(
    rf"(?P<function>\\(?:sin|cos|tan|cot|sec|csc))\s*(?P<open>\()?\s*(?P<angle>\d+(?:\.\d+)?){_DEGREE_SIGN.pattern}(?(open)\s*\))",
    re.ASCII,
)


def _in_radians(match: re.Match[str]) -> str:
    """math-verify reads every angle in radians."""
    return rf"{match['function']}{{(\frac{{{match['angle']}\pi}}{{180}})}}"


def _read_part(text: str) -> Part:
    name, value_text = _split_name(text)
    core, unit = split_unit(_TRIGONOMETRIC_DEGREES.sub(_in_radians, value_text))
    core = _DEGREE_SIGN.sub("", core)
    core = _BRACKETED.sub(r"\1", core.rstrip(" .")).strip()
    return Part(text=core, name=name, unit=unit, value=exact_number(core))


def _split_name(text: str) -> tuple[str | None, str]:
    """`x = 2 + 1 = 3` is named x and worth its last member; an equation between expressions stays whole."""
    if "=" not in text or re.search(r"[<>!]|\\(?:le|ge|ne|neq|leq|geq)(?![A-Za-z])", text):
        return None, text
    members = [member.strip() for member in text.split("=") if member.strip()]
    if not members:
        return None, ""
    if len(members) == 2 and _NAME.fullmatch(members[1]) and not _NAME.fullmatch(members[0]):
        members.reverse()  # 3 = x
    if _NAME.fullmatch(members[0]) and len(members) > 1:
        return re.sub(r"[\s{}]|\\(?:angle|measuredangle|overline)|^m(?=[\s\\])", "", members[0]), members[-1]
    if not any(_LETTERS.search(split_unit(member)[0]) for member in members):
        return None, members[-1]  # 2 + 1 = 3
    return None, text
