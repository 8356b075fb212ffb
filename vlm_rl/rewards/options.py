r"""Letters of multiple choice: `A`, `(A)`, `A.`, `option A`, `A. 35` name option A; a gold `A. 35` is right by its text, too."""

import re
from dataclasses import dataclass

_SAID = r"(?:(?i:option|choice|(?:the )?answer(?: is)?|ans)|故?选项?|答案[是为]?)\s*[:=]?\s*"
_MARK = r"(?:(?P<open>[(\[])\s*(?P<inside>[A-Za-z])\s*[)\]]\s*[.:]?|(?P<before>[A-Z])\s*[.):])"
_OPTION = re.compile(rf"(?:{_SAID})?(?:(?P<alone>[A-Z])|{_MARK}(?:(?P<gap>\s*)(?P<text>\S.*))?)", re.DOTALL | re.ASCII)
_BEGINS_AS_ALGEBRA = re.compile(r"\\(?:cup|cap|cdot|times|to|in|sim|cong)(?![A-Za-z])|[+=<>*/]|-\s")
_ANOTHER_OPTION = re.compile(
    r"(?:^|[\s(,;/])(?:[A-J]\s*[.):]|\(\s*[A-J]\s*\)|(?:or|and)\s+\(?[A-J](?![A-Za-z]))|(?<![A-Za-z'\\])[A-J]\W*$"
)


@dataclass(frozen=True, kw_only=True)
class Option:
    """A letter, and the text of the option where it is given."""

    letter: str
    text: str | None


def option(text: str, *, is_gold: bool = False) -> Option | None:
    """What `text`, normalised, chooses; None where it is no choice of one option. The text of a gold's option may be a letter."""
    match = _OPTION.fullmatch(text)
    if not match:
        return None
    said = match["text"]
    if said and ((match["open"] and _BEGINS_AS_ALGEBRA.match(said)) or (not match["gap"] and not re.match(r"[\d\\]", said))):
        return None  # (A) \cup (B), A.B
    if said and not is_gold and _ANOTHER_OPTION.search(said):
        return None
    return Option(letter=(match["alone"] or match["inside"] or match["before"]).upper(), text=said)
