"""What a report says, in English, with what is needed to say it in another language: the template and its values.

A Phrase is a str, so files, tests and JSON see English; the page looks its template up in a catalogue (wording_<language>.json).
Words and short sentences stand in the code; tables, and sentences that are longer than a line, in words/*.toml under a name.
"""

import functools
import json
import operator
import re
import string
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

LANGUAGES = ("en", "ja")
LONE_VALUE = re.compile(r"\{(\w+)\}")
WORDS = Path(__file__).with_name("words")
NEEDLESS_SPACE = re.compile(
    r"(?<=）) |(?<=[ぁ-んァ-ヶ一-龠、。：]) (?=[ぁ-んァ-ヶ一-龠（「])"
)  # full-width signs bring their own
MINUS = "\u2212"  # of languages other than English, whose pages keep the hyphen that programs know

Catalogue = Mapping[str, str]  # English template -> template with the same placeholders


class Phrase(str):
    """English text that remembers how it was put together."""

    __slots__ = ("template", "values")
    template: str
    values: Mapping[str, Any]


def say(template: str, **values: Any) -> Phrase:
    """`say("{arm} rose by {gain:+.1f} points", arm=..., gain=...)`; values may be phrases themselves."""
    return phrase_of(template, values)


def say_named(name: str, /, **values: Any) -> Phrase:
    """The sentence that words/sentences.toml has under a name: `say_named("verdict.open.short", arm=...)`; it may need fewer values."""
    found: Any = functools.reduce(operator.getitem, name.split("."), words("sentences"))
    return phrase_of(found, values)


def names(kind: str) -> dict[str, Phrase]:
    """What the keys of a kind are called on the page, from words/sentences.toml: `names("alerts")["truncation"]`."""
    return {key: phrase_of(template, {}) for key, template in words("sentences")["names"][kind].items()}


def sentences_of(templates: Iterable[str], values: Mapping[str, Any]) -> Phrase:
    """A paragraph of words/*.toml; a lone `{value}` is a sentence that is made elsewhere, and empty where there is nothing to say."""
    alone = ((template, LONE_VALUE.fullmatch(template)) for template in templates)
    return paragraph(*(values[found[1]] if found else phrase_of(template, values) for template, found in alone))


def phrase_of(template: str, values: Mapping[str, Any]) -> Phrase:
    """A template that is not written in the code."""
    phrase = Phrase(template.format(**values))
    phrase.template, phrase.values = template, values
    return phrase


@functools.cache
def words(name: str) -> Mapping[str, Any]:
    """What words/<name>.toml holds."""
    return tomllib.loads((WORDS / f"{name}.toml").read_text(encoding="utf-8"))


def paragraph(*sentences: str) -> Phrase:
    """Sentences one after another, each translated by itself."""
    return _folded(filter(None, sentences), lambda first, rest: say("{first} {rest}", first=first, rest=rest))


def listed(items: Iterable[str]) -> Phrase:
    """`a, b, c`, each translated by itself."""
    return _folded(items, lambda first, rest: say("{first}, {rest}", first=first, rest=rest))


def _folded(items: Iterable[str], say_both: Callable[[Phrase, str], Phrase]) -> Phrase:
    first, *rest = [*items] or [""]
    return functools.reduce(say_both, rest, say("{text}", text=first))


class WithMinus(string.Formatter):
    """Fills templates as `str.format` does, and writes negative numbers with a true minus."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """One value; texts stay as they are."""
        text = format(value, format_spec)
        return with_minus(text) if isinstance(value, int | float) else text


FORMATTER = WithMinus()


def with_minus(number: str) -> str:
    """A number as people read it: `−5.0`."""
    return number.replace("-", MINUS)


def in_language(text: str, *, catalogue: Catalogue) -> str:
    """The text in the catalogue's language; what the catalogue lacks stays English, and so does what a model or user wrote."""
    if not isinstance(text, Phrase):
        return text
    values = {
        name: in_language(value, catalogue=catalogue) if isinstance(value, str) else value
        for name, value in text.values.items()
    }
    if text.template not in catalogue:
        return (FORMATTER if catalogue else string.Formatter()).format(text.template, **values)
    return NEEDLESS_SPACE.sub("", FORMATTER.format(catalogue[text.template], **values))


def catalogue_of(language: str) -> Catalogue:
    """The wording of a language, beside this file; English needs none."""
    if language not in LANGUAGES:
        raise ValueError(f"report.language={language}: a report speaks {' or '.join(LANGUAGES)}.")
    found = "{}" if language == "en" else Path(__file__).with_name(f"wording_{language}.json").read_text(encoding="utf-8")
    return cast(Catalogue, json.loads(found))
