r"""Parse a boxed text into parts, each with name (`x =`), unit and exact value, form or elements where it has them.

No mathematics beyond plain numbers; the rules are in judge.py's docstring. Every pattern is linear, and nothing longer than
MAX_LENGTH is read, so no text makes this slow.
"""

import html
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from vlm_rl.rewards.boxed import has_box, last_boxed
from vlm_rl.rewards.exact_numbers import exact_number
from vlm_rl.rewards.forms import Form, form_of, moment
from vlm_rl.rewards.latex import normalise
from vlm_rl.rewards.names import Named, in_radians, named, without_degrees
from vlm_rl.rewards.splitting import bracketed, matrix, split_parts, without_outer_brackets
from vlm_rl.rewards.units import compound, split_unit

MAX_LENGTH = 300  # characters of a normalised answer; no gold of the paper's data is a tenth of it
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One element of an answer; most answers have one."""

    text: str  # normalised, without name and unit
    name: str | None = None  # before `=`: x, BC, \angle A
    unit: str | None = None  # canonical name, None = none given
    value: Fraction | None = None  # exact, None = not a plain number
    form: Form | None = None  # a range, a date, ..., which algebra would misread
    relation: tuple[str, ...] = ()  # members and signs in turn: a, =, b; empty where it is none
    brackets: str = ""  # of a point, an interval, a set, a matrix
    elements: tuple["Part", ...] = ()  # between them
    is_definition: bool = False  # y = 2x + 3: its name counts

    @property
    def is_words(self) -> bool:
        """Whether it is text and not mathematics: four letters in a row that are no LaTeX command."""
        return not self.elements and bool(_WORDS.search(self.text))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A parsed boxed text. Without parts there is nothing to judge."""

    parts: tuple[Part, ...]
    is_too_long: bool
    spelling: str = ""  # the whole of it, normalised
    is_ordered: bool = False  # a gold in \ordered{}: the order of its parts counts

    @property
    def text(self) -> str:
        """The whole text without names and units."""
        return ", ".join(part.text for part in self.parts)

    @property
    def is_readable(self) -> bool:
        """Whether every part has a letter, a digit or a command, and brackets that close."""
        return bool(self.parts) and all(_is_readable(part.text) for part in self.parts)


_ORDERED = re.compile(r"\s*\\ordered\s*\{(?P<list>.*)\}\s*", re.DOTALL)
_INTEGER = re.compile(r"\s*\$?(?P<number>-?\d{1,15})\$?\s*", re.ASCII)
_MARKUP = re.compile(
    r"^\s*\*\*|\*\*\s*$|^\s*#+\s|</?\s*(?:answer|boxed|b|i|p|em|strong|span|br|sub|sup|latex|math)\s*/?>", re.IGNORECASE
)


@lru_cache(maxsize=16384)
def read_gold(gold: str) -> Answer:
    r"""A gold answer: plain, LaTeX, inside a `\boxed{}`, between `<answer>` tags, or a list in `\ordered{}`."""
    if (match := _ORDERED.fullmatch(gold)) and not has_box(gold):
        return _read(match["list"], glued_units=True, is_ordered=True)
    return _read(last_boxed(gold) if has_box(gold) else gold, glued_units=True, is_ordered=False)


@lru_cache(maxsize=16384)
def read_answer(boxed: str | None, *, glued_units: bool = False) -> Answer:
    r"""The content of a `\boxed{}`; None (no box) reads as an empty answer. `glued_units`: 34m is 34 metres."""
    return _read(boxed, glued_units=glued_units, is_ordered=False)


def _read(text: str | None, *, glued_units: bool, is_ordered: bool) -> Answer:
    if text and (match := _INTEGER.fullmatch(text)):  # a fast path for most answers
        number = Part(text=match["number"], value=Fraction(int(match["number"])))
        return Answer(parts=(number,), is_too_long=False, spelling=match["number"], is_ordered=is_ordered)
    if len(text or "") > 10 * MAX_LENGTH:  # not even normalised
        return Answer(parts=(), is_too_long=True)
    spelling = normalise(_MARKUP.sub(" ", _of_html(text or ""))) if text and not text.isspace() else ""
    if len(spelling) > MAX_LENGTH:
        return Answer(parts=(), is_too_long=True)
    parts = tuple(_read_part(part, glued=glued_units) for part in split_parts(spelling))
    if len(parts) == 1 and parts[0].brackets == r"\{\}":
        parts = parts[0].elements  # a set is a list
    return Answer(parts=parts, is_too_long=False, spelling=spelling, is_ordered=is_ordered)


def _of_html(text: str) -> str:
    if "<su" in text:
        text = re.sub(r"<(su[pb])>(.*?)</\1>", lambda match: f"{'^' if match[1] == 'sup' else '_'}{{{match[2]}}}", text)
    return html.unescape(text) if "&" in text and ";" in text else text


def _read_part(text: str, *, glued: bool = False, depth: int = 0) -> Part:
    pair = named(in_radians(without_outer_brackets(text)))
    if pair.relation:
        return Part(text=without_degrees(text), relation=tuple(map(without_degrees, pair.relation)))
    content = _of_brackets(pair, glued=glued, depth=depth) if depth < 5 else None
    if content is not None:
        return content
    if (when := moment(pair.value)) is not None:
        return Part(text=pair.value, name=pair.name, form=when)
    if (both := compound(pair.value)) is not None:
        return Part(text=pair.value, name=pair.name, unit=both[1], value=both[0])
    core, unit = split_unit(pair.value, glued=glued)
    form = None if exact_number(core) is not None else form_of(core.strip(), unit=unit)
    if form and form.kind == "ratio of expressions" and len(form.content) == 2:
        core, form = rf"\frac{{{form.content[0]}}}{{{form.content[1]}}}", None
    core = without_degrees(core).strip()
    core = core if core.endswith("...") else core.rstrip(" .")
    value = exact_number(core)
    return Part(text=core, name=pair.name, unit=unit, value=value, form=form, is_definition=pair.is_definition)


def _of_brackets(pair: Named, *, glued: bool, depth: int) -> Part | None:
    """A point, an interval, a set or a matrix, else None. Brackets around a single element are dropped."""
    if (cells := matrix(pair.value)) is not None:
        elements = tuple(_read_part(cell, depth=depth + 1) for cell in cells.elements)
        return Part(text=pair.value, name=pair.name, brackets=cells.brackets, elements=elements)
    core, unit = split_unit(pair.value)
    found = bracketed(core)
    if found is None:
        return None
    elements = tuple(_read_part(element, glued=glued, depth=depth + 1) for element in found.elements)
    if len(elements) > 1 or (found.brackets == "[]" and elements and not elements[0].brackets.startswith("matrix")):
        return Part(text=core, name=pair.name, unit=unit, brackets=found.brackets, elements=elements)
    if len(elements) == 1 and not elements[0].relation:
        (inner,) = elements
        return replace(inner, name=pair.name or inner.name, unit=unit or inner.unit)
    return None


def _is_readable(text: str) -> bool:
    if not re.search(r"[^\W_]", text):
        return text == "..."
    text = re.sub(r"^[A-Za-z]\)", "", text)  # an option
    balance = text.count("(") + text.count("[") - text.count(")") - text.count("]")
    return text.count("{") == text.count("}") and (balance == 0 or bool(_WORDS.search(text)))
