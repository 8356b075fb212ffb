r"""Gold answers from the answer column: what a pattern cuts out of it, and whether the order of a list counts."""

import re
from collections.abc import Iterator

import regex  # `re` cannot be stopped: one pattern of seven characters may take years

from vlm_rl.datasets.row import BadRow
from vlm_rl.datasets.row_text import is_missing

KEY = "dataset.source.answer_pattern"
SEARCHED = 1_000  # characters at the end of the column
SHOWN = 60  # characters of a text in a message
LIMIT_S = 1.0  # CPU seconds, so that a busy machine changes nothing; a usual pattern needs a thousandth
PROBE = 50  # characters: enough to find a pattern whose time doubles with each character
_SIGN = re.compile(
    r"(?P<open>\\l(?:angle|brace|brack)\b|\\?[(\[{])|(?P<close>\\r(?:angle|brace|brack)\b|\\?[)\]}])|(?P<cut>[,;])|\\.",
    re.DOTALL,
)
_INLINE = re.compile(r"\\[()\[\]]|(?<!\\)\$")  # delimiters of mathematics, no brackets
_THOUSANDS = re.compile(r"(?<![\d.,(\[])\d{1,3}(?:,\d{3})+(?!\d|,\d)", re.ASCII)  # the judge's: 1,000 is one number


class AnswerPattern:
    """The last match counts: its group `answer`, else its first group, else all of it."""

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str) or not pattern:
            raise ValueError(f"{KEY} is {pattern!r}, not a regular expression. null takes the whole answer column.")
        try:
            self._pattern = regex.compile(pattern)
        except (regex.error, OverflowError, RecursionError) as error:
            raise ValueError(
                f"{KEY}={pattern!r} is no regular expression: {error}. For example '####\\s*(.+)': what the brackets match "
                "is the answer."
            ) from None
        self._group: str | int = "answer" if "answer" in self._pattern.groupindex else min(1, self._pattern.groups)
        for probe in _probes(pattern):
            self._found(probe, place="a text that it meets")

    def cut(self, text: str, *, place: str) -> str:
        """The answer in a text; `place` says in messages where it stands. Raises BadRow where there is none."""
        if found := self._found(text, place=place):
            return found[-1]
        ending = text if len(text) <= SHOWN else "..." + text[-SHOWN:]
        raise BadRow(
            f"{place} ends in {ending!r}, where {KEY}={self._pattern.pattern!r} finds no answer (the last {SEARCHED:,} "
            "characters are searched). Correct the pattern, or drop the row."
        )

    def _found(self, text: str, *, place: str) -> list[str]:
        """The matches that are not blank. `^` matches at the start of the whole text only."""
        try:
            matches = self._pattern.finditer(text, pos=max(0, len(text) - SEARCHED), timeout=LIMIT_S)
            answers = [(match[self._group] or "").strip() for match in matches]
        except TimeoutError:
            raise ValueError(
                f"{KEY}={self._pattern.pattern!r} takes more than {LIMIT_S:g} s for {place}. Write it without a repetition "
                "inside of a repetition, such as (a+)+ or (a|aa)*."
            ) from None
        return list(filter(None, answers))


def _probes(pattern: str) -> Iterator[str]:
    """Short texts that nearly match, which show whether the time of a pattern is exponential."""
    start = regex.match(r"[\w\s<>#:/=\"'-]*", pattern.lstrip("^("))[0]
    for sign in sorted({*"a0 ,\n", *pattern}):
        for text in (sign * PROBE, start + sign * PROBE):
            yield from (text, text + "\x00")


class GoldRules:
    """What a source makes of its answer column: `answer_pattern` cuts the answer out, `ordered_lists` makes the order of a list count."""

    def __init__(self, *, answer_pattern: str | None, ordered_lists: bool) -> None:
        if not isinstance(ordered_lists, bool):
            raise ValueError(f"dataset.source.ordered_lists is {ordered_lists!r}; it is either true or false.")
        self._pattern = None if answer_pattern is None else AnswerPattern(answer_pattern)
        self._ordered_lists = ordered_lists

    def cut(self, text: str, *, place: str) -> str:
        """The part of an answer column that is the answer. Raises BadRow."""
        if self._pattern is None:
            return text
        answer = self._pattern.cut(text, place=place)
        if is_missing(answer):
            raise BadRow(f"{place} says {answer!r}, which stands for a missing value. Fill it in, or drop the row.")
        return answer

    def ordered(self, answer: str) -> str:
        r"""`\ordered{3, 1, 2}` for the list `3, 1, 2` where the order of lists counts; anything else as it is."""
        inner = _INLINE.sub("", answer).strip()
        parts = _parts(_THOUSANDS.sub(lambda number: number[0].replace(",", " "), inner)) if self._ordered_lists else []
        return rf"\ordered{{{inner}}}" if len(parts) > 1 and all(map(str.strip, parts)) else answer


def _parts(text: str) -> list[str]:
    r"""The pieces between commas or semicolons outside all brackets: (3, 1) is one piece; `\,` and `\;` are spaces."""
    parts, depth, start = [], 0, 0
    for sign in _SIGN.finditer(text):
        if sign["cut"] and depth == 0:
            parts.append(text[start : sign.start()])
            start = sign.end()
        depth += bool(sign["open"]) - bool(sign["close"])
    return [*parts, text[start:]]
