r"""Tell the name of a value (`x = 3`) from an equation, which must be compared as a whole.

`AB = CD` and `\alpha + \beta = 180` are equations; `y = 2x + 3` is a definition and equals its right side where the gold has no name.
"""

import re
from dataclasses import dataclass

from vlm_rl.rewards.characters import GREEK
from vlm_rl.rewards.units import split_unit

_LETTER = rf"(?:[A-Za-z]|\\(?!pi\b)(?:{'|'.join(sorted(GREEK - {'pi'}, key=len, reverse=True))})(?![A-Za-z]))"
_DECORATED = r"(?:m\s*)?(?:\\(?:angle|triangle|overline|widehat|overarc|overrightarrow|vec|hat|bar|mathbf|odot|square)\s*)*"
_INDEX = r"(?:\s*_\s*(?:\{[^{}]*\}|\w))?"
_OF = r"(?:\s*\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])?\s*\))?"  # f(x)
_NAME = rf"\|?\s*{_DECORATED}\{{?\s*(?:[A-Za-z][A-Za-z' ]{{0,39}}|{_LETTER}|[1-9])'*\s*\}}?{_INDEX}'*\s*\|?{_OF}"
NAME = re.compile(rf"{_NAME}(?:\s*:\s*{_NAME}){{0,3}}")
_TUPLE = re.compile(rf"\(\s*{_LETTER}{_INDEX}(?:\s*,\s*{_LETTER}{_INDEX})+\s*\)")
_POINT = re.compile(r"(?P<name>[A-Z]'?)\s*(?P<value>\([^()]*,[^()]*\))")
_MEMBER_OF = re.compile(rf"(?P<name>{_LETTER}{_INDEX})\s*\\in(?![A-Za-z])\s*(?P<value>.+)")
_SIGN = re.compile(r"(\\(?:le|ge|ne|cong|sim|perp|parallel|equiv)(?![A-Za-z])|<=|>=|!=|[<>]=?|=)")
_LETTERS = re.compile(rf"(?<![\\A-Za-z]){_LETTER}|{_LETTER}")
_FUNCTIONS = re.compile(
    r"\\?(?:sin|cos|tan|cot|sec|csc|log|ln|exp|arcsin|arccos|arctan|frac|sqrt|pi|times|cdot|circ|binom|pm)(?![A-Za-z])"
)
_IMAGINARY = re.compile(r"(?<![A-Za-z\\])i(?![A-Za-z])")
_DEGREES = re.compile(r"\s*(?:\^\s*\\circ(?![A-Za-z])|(?<=\d)\\circ(?![A-Za-z])|°)")
_TRIGONOMETRIC = re.compile(
    rf"(?P<function>\\(?:sin|cos|tan|cot|sec|csc))(?P<power>\^\d)?\s*(?P<open>\()?\s*(?P<angle>\d+(?:\.\d+)?){_DEGREES.pattern}(?(open)\s*\))",
    re.ASCII,
)
_DROPPED = re.compile(r"\\overline(?=\s*\{\s*[A-Z]{2,}\s*\})|[\s{}]|\\angle(?![A-Za-z])|^m(?=[\s\\])")


@dataclass(frozen=True, kw_only=True)
class Named:
    """A part of an answer: its name and value, or a relation."""

    name: str | None
    value: str
    relation: tuple[str, ...] = ()  # members and signs in turn
    is_definition: bool = False


def named(text: str) -> Named:
    r"""`x = 2 + 1 = 3` has the name x and the value 3; a relation between expressions stays whole."""
    if (match := _POINT.fullmatch(text)) or (match := _MEMBER_OF.fullmatch(text)):
        return Named(name=_canonical(match["name"]), value=match["value"])
    pieces = [piece.strip() for piece in _SIGN.split(text)]
    if len(pieces) == 1:
        return Named(name=None, value=text)
    if any(sign != "=" for sign in pieces[1::2]):
        is_whole = all(pieces[::2])
        return Named(name=None, value=text, relation=tuple(pieces) if is_whole else ())
    return _of_equation(text, [member for member in pieces[::2] if member])


def without_degrees(text: str) -> str:
    """`text` without degree signs."""
    return _DEGREES.sub("", text)


def in_radians(text: str) -> str:
    r"""`text` with the angle of `\sin 60^\circ` in radians, as algebra.py reads it."""
    return _TRIGONOMETRIC.sub(_in_radians, text) if _DEGREES.search(text) else text


def _of_equation(text: str, members: list[str]) -> Named:
    if not members:
        return Named(name=None, value="")
    if len(members) == 2 and not _has_letters(members[0]) and _is_name(members[1]):
        members.reverse()  # 3 = x
    first, last = members[0], members[-1]
    if len(members) == 1 or not any(map(_has_letters, members)):
        return Named(name=None, value=last)  # 2 + 1 = 3
    is_chain = not any(_is_prose(member) or re.search(rf"\s{re.escape(first)}$", member) for member in members[1:-1])
    if _is_name(first) and is_chain and (not _has_letters(last) or _is_prose(last)):
        return Named(name=_canonical(first), value=last)
    if len(members) == 2 and (_is_name(first) or _is_prose(first)) and not _is_name(last):
        return Named(name=_canonical(first), value=last, is_definition=True)
    relation = [piece for member in members for piece in (member, "=")][:-1]
    return Named(name=None, value=text, relation=tuple(relation))


def may_stand_alone(name: str, value: str) -> bool:
    """Whether the value of a definition is equal to it without the name: for a function, or for a quantity (V, AB, \\angle A, a_n)
    in terms of small letters. `y = 2x + 3` and `AB = 2CD` are equations."""
    is_measured = bool(re.match(r"[A-Z]|\\|[a-z]_", name)) and not re.search(
        rf"[A-Z]|\\(?:{'|'.join(GREEK - {'pi'})})(?![a-z])", value
    )
    return "(" in name or is_measured


def _is_name(member: str) -> bool:
    return bool(NAME.fullmatch(member) or _TUPLE.fullmatch(member)) and not member.isdigit()


def _is_prose(member: str) -> bool:
    return bool(re.search(r"(?<![\\A-Za-z])[A-Za-z]{4,}", member))


def _has_letters(member: str) -> bool:
    """Whether it has letters that are no unit, no function and not \\pi."""
    without_functions = _FUNCTIONS.sub(" ", split_unit(member, glued=True)[0])
    return bool(_LETTERS.search(_IMAGINARY.sub(" ", without_functions)))


def _canonical(name: str) -> str:
    return _DROPPED.sub("", name)


def _in_radians(match: re.Match[str]) -> str:
    return rf"{match['function']}{match['power'] or ''}{{(\frac{{{match['angle']}\pi}}{{180}})}}"
