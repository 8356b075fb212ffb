"""Reflection words, by spelling and never by meaning, and the five ratios of Table 2: counts pooled, then divided."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlm_rl.evaluation.response_length import ratio

# Ma et al. 2025, Sec. 4. "re-check" and "recheck" are two entries; "re check" is none.
PAPER_REFLECTION_WORDS: tuple[str, ...] = (
    *("re-check", "re-evaluate", "re-examine", "re-think", "recheck", "reevaluate", "reexamine", "reevaluation", "rethink"),
    *("check again", "think again", "try again", "verify", "wait", "yet"),
)

REFLECTION_RATIOS: tuple[str, ...] = (
    "reflection_ratio",
    "reflection_ratio_in_correct_answers",
    "reflection_ratio_in_incorrect_answers",
    "correct_ratio_in_reflection_texts",
    "correct_ratio_in_no_reflection_texts",
)
WHITE_SPACE = r"[\t-\r\x1c-\x1f\x{85}\p{Z}]+"  # RE2 for what `str.split` splits at
HYPHENS = "-\u2010\u2011"  # hyphen-minus, hyphen and non-breaking hyphen, as models write them


@runtime_checkable
class ReflectionRule(Protocol):
    """What counts as an occurrence of a reflection word."""

    @property
    def words(self) -> Sequence[str]:
        """The words that are looked for, in the order in which they are shown."""

    def count(self, text: str) -> dict[str, int]:
        """How often each word occurs in one response; words that do not occur are left out."""


@dataclass(frozen=True, kw_only=True)
class WholeWords:
    """Our rule: a word of its own, in any case; letters, digits, underscores and single hyphens belong to the word around.

    So "waiter", "Kuwait", "waiting", "re-evaluating", "wait-list" and "re-verify" count nothing, nor does "double-check",
    which is no entry; "Wait," and "wait--no" count "wait". Any white space stands for a space, so that a phrase may break
    over lines. Each word is counted without regard to the others: editing the list never changes another word's count.
    """

    words: Sequence[str] = field(default=PAPER_REFLECTION_WORDS)

    def count(self, text: str) -> dict[str, int]:
        """Occurrences of each whole word in one response."""
        lowered = text.lower()
        for hyphen in HYPHENS[1:]:
            lowered = lowered.replace(hyphen, HYPHENS[0])
        plain = " ".join(lowered.split())
        counts = {word: len(pattern.findall(plain)) for word, pattern in self._patterns.items() if word in plain}
        return {word: count for word, count in counts.items() if count}

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        return {
            word: re.compile(rf"{literal}(?<!\w{literal})(?<!\w-{literal})(?!\w)(?!-\w)")  # literal first: found fast
            for word, literal in ((entry.lower(), re.escape(entry.lower())) for entry in self.words)
        }


@dataclass(frozen=True, kw_only=True)
class Substrings:
    """The authors' rule, to match old numbers: anywhere in the lower-cased text, so that "waiter" counts "wait"."""

    words: Sequence[str] = field(default=PAPER_REFLECTION_WORDS)

    def count(self, text: str) -> dict[str, int]:
        """Occurrences of each word as a substring of one response."""
        lowered = text.lower()
        counts = {word: lowered.count(word) for word in map(str.lower, self.words)}
        return {word: count for word, count in counts.items() if count}


@dataclass(frozen=True, kw_only=True)
class ReflectionCounts:
    """The four counts of Table 2 and the count of each word."""

    num_responses: int  # N
    num_reflective: int  # N_ref: at least one reflection word
    num_correct: int  # N+
    num_reflective_correct: int  # N_ref+
    word_counts: Mapping[str, int]  # word -> occurrences, every word of the rule present

    def ratios(self) -> dict[str, float]:
        """The five ratios under the paper's names; NaN where nothing is there to divide by, or no word was looked for."""
        if not self.word_counts:
            return dict.fromkeys(REFLECTION_RATIOS, math.nan)
        values = (
            ratio(self.num_reflective, total=self.num_responses),
            ratio(self.num_reflective_correct, total=self.num_correct),
            ratio(self.num_reflective - self.num_reflective_correct, total=self.num_responses - self.num_correct),
            ratio(self.num_reflective_correct, total=self.num_reflective),
            ratio(self.num_correct - self.num_reflective_correct, total=self.num_responses - self.num_reflective),
        )
        return dict(zip(REFLECTION_RATIOS, values, strict=True))

    def metrics(self) -> dict[str, float]:
        """The ratios and word counts under the names of metrics.jsonl: `reflection/word/check_again`."""
        words = {f"reflection/word/{word.replace(' ', '_')}": float(count) for word, count in self.word_counts.items()}
        return {f"reflection/{name}": value for name, value in self.ratios().items()} | words


def reflective_counts(responses: Sequence[str] | pa.ChunkedArray, *, rule: ReflectionRule) -> dict[int, dict[str, int]]:
    """The responses that reflect: place among `responses` -> word -> occurrences, exactly as `rule.count` finds them.

    Of an Arrow column, our own rules decode and count only what one pass of RE2 lets through.
    """
    if not isinstance(responses, pa.ChunkedArray):
        texts = dict(enumerate(responses))
    else:
        texts = candidates(
            responses, pattern=candidate_pattern(rule.words) if isinstance(rule, WholeWords | Substrings) else ""
        )
    counts = {place: rule.count(text) for place, text in texts.items()}
    return {place: words for place, words in counts.items() if words}


def pool_reflection(
    reflective: Mapping[int, Mapping[str, int]], *, correct: Sequence[bool] | NDArray[np.bool_], rule: ReflectionRule
) -> ReflectionCounts:
    """Sum up what `reflective_counts` found among responses, of which `correct` says whether the answer was right."""
    word_counts = {word.lower(): 0 for word in rule.words}
    for words in reflective.values():
        for word, count in words.items():
            word_counts[word] += count
    return ReflectionCounts(
        num_responses=len(correct),
        num_reflective=len(reflective),
        num_correct=int(sum(correct)),
        num_reflective_correct=sum(bool(correct[place]) for place in reflective),
        word_counts=word_counts,
    )


def candidate_pattern(words: Iterable[str]) -> str:
    """An RE2 pattern that matches every text whose `lower()`, with one kind of white space and of hyphen, holds a word.

    RE2 ignores case one character at a time. U+0130 alone becomes two characters by `lower()`; a text that has it matches.
    """
    return "(?i)" + "|".join(["\u0130", *("".join(map(_any_spelling, word.lower())) for word in words)])


def candidates(texts: pa.ChunkedArray, *, pattern: str) -> dict[int, str]:
    """The texts that match, by their place; broken UTF-8 is read as U+FFFD, a missing text as none."""
    matches = pc.fill_null(pc.match_substring_regex(texts, pattern=pattern), False)
    places = pc.indices_nonzero(matches)
    found = pc.take(texts, places).cast(pa.binary())
    return {place: text.decode(errors="replace") for place, text in zip(places.to_pylist(), found.to_pylist(), strict=True)}


def _any_spelling(character: str) -> str:
    """RE2 for all that can stand for one character of a lower-cased word."""
    if character.isspace():
        return WHITE_SPACE
    return f"[{re.escape(HYPHENS)}]" if character in HYPHENS else re.escape(character)
