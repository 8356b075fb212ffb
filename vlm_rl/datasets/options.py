"""Options of multiple choice from columns: each is a line at the end of the question, and the answer column names one."""

import ast
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Literal, get_args

from vlm_rl.datasets.row import BadRow
from vlm_rl.datasets.row_text import is_missing, text_of

LETTERS = ascii_uppercase
AnswerIs = Literal["letter", "text", "index_0", "index_1"]  # B; the option itself; its number, where the first is 0 or 1
ANSWER_IS = get_args(AnswerIs)
KEY = "dataset.source.columns.answer_is"
LONGEST_LIST = 20_000  # characters of a list written as text

_LETTER = re.compile(r"[(\[]?([A-Za-z])[)\].:]*")
_LETTER_AND_TEXT = re.compile(r"\(?([A-Za-z])[).:]+\s*(\S.*)", re.DOTALL)
_COUNT = re.compile(r"(\d{1,3})(?:\.0+)?", re.ASCII)
_LOST_BACKSLASH = re.compile(r"[\t\r\n](?=[a-z])")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a row; empty where the question has none."""

    texts: tuple[str, ...]

    def with_question(self, question: str) -> str:
        """The question with a line `A. text` for each option after it."""
        return "\n".join([question, *(f"{LETTERS[i]}. {text}" for i, text in enumerate(self.texts))])

    def gold(self, answer: str, *, answer_is: AnswerIs | None, place: str) -> str:
        """The option that the answer column names, as `B. text`. Raises BadRow, naming `place`, where it names none or several."""
        found = sorted(self._named(answer.strip(), answer_is))
        if len(found) == 1:
            return f"{LETTERS[found[0]]}. {self.texts[found[0]]}"
        if not found:
            raise BadRow(
                f"{place} is {answer!r}, which names none of its options A to {LETTERS[len(self.texts) - 1]}. {_advice(answer, answer_is)}"
            )
        letters = " and ".join(LETTERS[i] for i in found)
        raise BadRow(
            f"{place} is {answer!r}, which names the options {letters}. Set {KEY} to letter or to text if all answers are of one "
            "kind, or drop the row."
        )

    def _named(self, answer: str, answer_is: AnswerIs | None) -> set[int]:
        by_text = {i for i, text in enumerate(self.texts) if text == _one_line(answer)}
        if answer_is == "text":
            return by_text
        if answer_is in ("index_0", "index_1"):
            counted = _COUNT.fullmatch(answer)
            return {int(counted[1]) - int(answer_is[-1])} & set(range(len(self.texts))) if counted else set()
        return self._by_letter(answer) | (by_text if answer_is is None else set())

    def _by_letter(self, answer: str) -> set[int]:
        """`B`, `(B)`, `b.`, or `B. text` where the text is its own."""
        letter, both = _LETTER.fullmatch(answer), _LETTER_AND_TEXT.fullmatch(answer)
        match = letter or both
        place = LETTERS.index(match[1].upper()) if match else len(self.texts)
        if place >= len(self.texts) or (both and not letter and _one_line(both[2]) != self.texts[place]):
            return set()
        return {place}


def options_of(cells: Sequence[Any], *, place: str) -> Options:
    """The options from one column with a list, or from several columns. Empty ones at the end are dropped. Raises BadRow."""
    found = _listed(cells[0], place=place) if len(cells) == 1 else cells
    texts = [
        "" if is_missing(value) else _one_line(text_of(value, place=f"{place}, option {i + 1}", is_category=True))
        for i, value in enumerate(found)
    ]
    while texts and not texts[-1]:
        texts.pop()
    if "" in texts:
        raise BadRow(f"{place}: option {texts.index('') + 1} is blank, and a later one is not. Fill it in, or drop the row.")
    if len(texts) == 1 or len(texts) > len(LETTERS):
        raise BadRow(
            f"{place} holds {len(texts)} option{'s' * (len(texts) > 1)}. A question has 2 to {len(LETTERS)}, or an empty list. "
            "Correct the row, or drop it."
        )
    return Options(texts=_without_letters(texts))


def _listed(value: Any, *, place: str) -> Sequence[Any]:
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return []
    found = _read(value) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise BadRow(
            f'{place} is no list of options. Write ["3", "5"], or name several columns: dataset.source.columns.options=\'[A,B,C,D]\'.'
        )
    if isinstance(value, str) and any(isinstance(text, str) and _LOST_BACKSLASH.search(text) for text in found):
        raise BadRow(f"{place} holds a line end or a tab in front of a letter. Write a backslash of LaTeX twice in a list.")
    return found


def _read(text: str) -> Any:
    """The list in a text, in JSON or Python: ["3", "5"] or ['3', '5']."""
    if len(text) > LONGEST_LIST:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings(action="ignore"):  # an unknown escape such as \\l
            return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _one_line(text: str) -> str:
    return re.sub(r"\s*[\r\n]+\s*", " ", text.strip())


def _without_letters(texts: Sequence[str]) -> tuple[str, ...]:
    """The options without the letters A, B, ... where all of them have one: `A. 3` or `(A) 3`."""
    matches = [
        re.match(rf"(?:\({letter}\)|{letter}[.:)])\s*(?=\S)", text) for letter, text in zip(LETTERS, texts, strict=False)
    ]
    return tuple(text[match.end() :] if match and all(matches) else text for match, text in zip(matches, texts, strict=True))


def _advice(answer: str, answer_is: AnswerIs | None) -> str:
    if answer_is is None and _COUNT.fullmatch(answer.strip()):
        return f"If it counts them, set {KEY}=index_0 where the first is 0, index_1 where it is 1."
    if answer_is is None:
        return "Give the letter or the text of one of them, or drop the row."
    return f"{KEY}={answer_is} says what it must be; null takes a letter or a text."
