"""The texts of a long column that may hold any of some words, by one pass of RE2: a loose pattern that keeps none back."""

import sys
from collections.abc import Iterable, Sequence
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

HYPHENS = "-\u2010\u2011"  # hyphen-minus, hyphen and non-breaking hyphen, as models write them


def candidate_pattern(words: Iterable[str]) -> str:
    """An RE2 pattern that matches every text whose `lower()`, with one kind of white space and of hyphen, holds a word."""
    return "|".join("".join(map(_any_spelling, word.lower())) for word in words)


def candidates(texts: pa.ChunkedArray, *, pattern: str) -> dict[int, str]:
    """The texts that match, by their place; broken UTF-8 is read as U+FFFD, a missing text as none."""
    matches = pc.fill_null(pc.match_substring_regex(texts, pattern=pattern), False)
    places = pc.indices_nonzero(matches)
    found = pc.take(texts, places).cast(pa.binary())
    return {place: text.decode(errors="replace") for place, text in zip(places.to_pylist(), found.to_pylist(), strict=True)}


def _any_spelling(character: str) -> str:
    """A character class of all that can stand for one character of a lower-cased word."""
    if character.isspace():
        return _class(_white_space()) + "+"
    if character in HYPHENS:
        return _class(HYPHENS)
    capitals, is_part = _capitals().get(character, ("", False))
    return _class(character + capitals) + "?" * is_part


def _class(characters: Sequence[str]) -> str:
    return "[" + "".join(f"\\x{{{ord(character):x}}}" for character in characters) + "]"


@cache
def _white_space() -> str:
    return "".join(character for character in map(chr, range(sys.maxunicode + 1)) if character.isspace())


@cache
def _capitals() -> dict[str, tuple[str, bool]]:
    """Lower-case character -> what becomes it by `lower()`, and whether it may come as part of another, as the dot of U+0130."""
    found: dict[str, tuple[str, bool]] = {}
    for capital in map(chr, range(sys.maxunicode + 1)):
        lowered = capital.lower()
        if lowered == capital:
            continue
        for place, character in enumerate(lowered):
            capitals, is_part = found.get(character, ("", False))
            found[character] = (capitals + capital, is_part or place > 0)
    return found | {"\u03c2": ("\u03a3", False)}  # the final sigma, which depends on what follows
