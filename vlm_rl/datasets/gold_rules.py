r"""How a source makes golds of its answer column: what is cut out of it, and whether the order of a list counts."""

import re
from dataclasses import dataclass

from vlm_rl.datasets.answer_pattern import AnswerPattern
from vlm_rl.datasets.lazy_rows import BadRow
from vlm_rl.datasets.row_text import is_missing

_SIGN = re.compile(
    r"(?P<open>\\l(?:angle|brace|brack)\b|\\?[(\[{])|(?P<close>\\r(?:angle|brace|brack)\b|\\?[)\]}])|(?P<cut>[,;])|\\.",
    re.DOTALL,
)
_INLINE = re.compile(r"\\[()\[\]]|(?<!\\)\$")  # delimiters of mathematics, no brackets
_THOUSANDS = re.compile(r"(?<![\d.,(\[])\d{1,3}(?:,\d{3})+(?!\d|,\d)", re.ASCII)  # the judge's: 1,000 is one number


@dataclass(frozen=True, kw_only=True)
class GoldRules:
    """Settings of a source that its columns do not have."""

    pattern: AnswerPattern | None = None  # what is cut out of the answer column; None: all of it counts
    ordered_lists: bool = False  # the gold `3, 1, 2` is right in that order only

    @classmethod
    def of(cls, *, answer_pattern: str | None, ordered_lists: bool) -> "GoldRules":
        """From the arguments of a source. Raises ValueError naming the key."""
        if not isinstance(ordered_lists, bool):
            raise ValueError(f"dataset.source.ordered_lists is {ordered_lists!r}; it is either true or false.")
        return cls(
            pattern=None if answer_pattern is None else AnswerPattern(answer_pattern),
            ordered_lists=ordered_lists,
        )

    def cut(self, text: str, *, place: str) -> str:
        """The part of an answer column that is the answer. Raises BadRow."""
        if self.pattern is None:
            return text
        answer = self.pattern.cut(text, place=place)
        if is_missing(answer):
            raise BadRow(f"{place} says {answer!r}, which stands for a missing value. Fill it in, or drop the row.")
        return answer

    def ordered(self, answer: str) -> str:
        r"""`\ordered{3, 1, 2}` for the list `3, 1, 2` where the order of lists counts; anything else as it is."""
        return _ordered(answer) if self.ordered_lists else answer


AS_WRITTEN = GoldRules()


def _ordered(answer: str) -> str:
    inner = _INLINE.sub("", answer).strip()
    parts = _parts(_THOUSANDS.sub(lambda number: number[0].replace(",", " "), inner))
    return rf"\ordered{{{inner}}}" if len(parts) > 1 and all(map(str.strip, parts)) else answer


def _parts(text: str) -> list[str]:
    r"""What stands between commas or semicolons outside of all brackets: (3, 1) is one part; `\,` and `\;` are spaces."""
    parts, depth, start = [], 0, 0
    for sign in _SIGN.finditer(text):
        if sign["cut"] and depth == 0:
            parts.append(text[start : sign.start()])
            start = sign.end()
        depth += bool(sign["open"]) - bool(sign["close"])
    return [*parts, text[start:]]
