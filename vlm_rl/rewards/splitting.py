r"""Split a normalised answer: lists, choices, points, intervals, sets, matrices. Brackets are counted."""

import re
from dataclasses import dataclass
from itertools import chain

from vlm_rl.rewards.exact_numbers import exact_number
from vlm_rl.rewards.forms import moment
from vlm_rl.rewards.units import compound

_OPEN, _CLOSE = r"\\\{|\\langle(?![A-Za-z])|[(\[{]", r"\\\}|\\rangle(?![A-Za-z])|[)\]}]"
_SEPARATOR = re.compile(
    rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})|(?P<cut>[,;]|\\\\|\\(?:lor|land|vee|wedge|cup)(?![A-Za-z])|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])"
    r"|(?<=\d)\s+(?=[\d.])(?!\d+\s*/\s*\d))"
)
_MATRIX = re.compile(r"\\begin\{(?P<kind>(?:small)?[bpBvV]?matrix|array)\}(?P<inside>.*)\\end\{(?P=kind)\}", re.DOTALL)
_LOGIC = re.compile(
    r"(?:[A-Za-z()]|\s|\\(?:neg|lnot|to|wedge|vee|land|lor)(?![A-Za-z]))*\\(?:wedge|vee|land|lor)(?:\s|[A-Za-z()]|\\(?:neg|lnot|to|wedge|vee|land|lor)(?![A-Za-z]))*"
)
_PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![A-Za-z])")


@dataclass(frozen=True, kw_only=True)
class Bracketed:
    """The elements between a pair of brackets or in a matrix."""

    brackets: str  # both: (), (], \{\}; of a matrix its kind and shape
    elements: tuple[str, ...]


def split_parts(text: str) -> list[str]:
    r"""The parts of a list or a choice: split at commas, `or`, `and`, or a space between numbers, outside all brackets;
    `2 \pm 3` is two parts."""
    text = without_outer_brackets(text)
    if not text:
        return []
    is_one = exact_number(text) is not None or r"\begin" in text or compound(text) is not None
    is_one = is_one or moment(text) is not None or bool(_LOGIC.fullmatch(text))
    parts = [text] if is_one else cut(text)
    if not is_one and ";" in text and "," in text and len(groups := cut(text, at=";")) not in (1, len(parts)):
        parts = [f"({group})" for group in groups]  # 2, 3; 4, 5 is two pairs
    return [sign for part in parts for sign in _both_signs(part)]


def cut(text: str, *, at: str | None = None) -> list[str]:
    """The pieces between separators, or between those that are `at`, outside all brackets."""
    parts, depth, start = [], 0, 0
    for match in _SEPARATOR.finditer(text):
        depth = max(0, depth + bool(match["open"]) - bool(match["close"]))
        if match["cut"] and depth == 0 and at in (None, match["cut"]):
            parts.append(text[start : match.start()])
            start = match.end()
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def bracketed(text: str) -> Bracketed | None:
    """The elements of `text` where one pair of brackets encloses all of it; None where none does."""
    start, end = re.match(_OPEN, text), re.search(rf"(?:{_CLOSE})$", text)
    if not start or not end or "{" in (start[0], end[0]) or not _encloses(text):
        return None
    brackets = {r"\langle\rangle": "()"}.get(start[0] + end[0], start[0] + end[0])
    if brackets not in ("()", "(]", "[)", "[]", r"\{\}"):
        return None
    inside = text[start.end() : end.start()].strip()
    is_one = r"\begin" in inside or exact_number(inside) is not None
    return Bracketed(brackets=brackets, elements=(inside,) if is_one else tuple(cut(inside)))


def without_outer_brackets(text: str) -> str:
    """`text` without round brackets around all of it, where they hold a single thing."""
    while (found := bracketed(text)) and found.brackets == "()" and len(found.elements) == 1:
        text = found.elements[0]
    return text


def matrix(text: str) -> Bracketed | None:
    """The cells of a matrix that is all of `text`, row by row; None where it is none."""
    match = _MATRIX.fullmatch(text.strip())
    if not match or r"\begin" in match["inside"]:
        return None
    rows = [[cell.strip() for cell in row.split("&")] for row in match["inside"].split(r"\\") if row.strip()]
    kind = "determinant" if match["kind"][0] in "vV" else "matrix"
    shape = f"{kind} {len(rows)} x {max(map(len, rows))}" if rows else ""
    return Bracketed(brackets=shape, elements=tuple(chain.from_iterable(rows))) if rows else None


def _encloses(text: str) -> bool:
    """Whether the first bracket closes at the very end and not before: (1, 2), not (1, 2) + (3, 4)."""
    depth = 0
    for match in _SEPARATOR.finditer(text):
        depth += bool(match["open"]) - bool(match["close"])
        if depth == 0 and match["close"]:
            return match.end() == len(text)
    return False


def _both_signs(part: str) -> list[str]:
    if len(_PLUS_MINUS.findall(part)) != 1:
        return [part]
    return [_PLUS_MINUS.sub(sign, part) for sign in "+-"]
