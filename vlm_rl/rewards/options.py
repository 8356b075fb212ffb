r"""Letters of multiple choice: `A`, `(A)`, `A.`, `option A`, `A. 35` name option A; a gold `A. 35` is right by its text, too."""

import re
from dataclasses import dataclass

_MARKED = r"(?:\(\s*(?P<inside>[A-Z])\s*\)\s*[.:]?|\[\s*(?P<square>[A-Z])\s*\]|(?P<before>[A-Z])\s*[.):])"
_OPTION = re.compile(
    rf"(?:(?i:option|choice|answer|ans)\s*[:=]?\s*)?(?:(?P<alone>[A-Z])|{_MARKED}(?:\s+(?P<text>\S.*))?)", re.DOTALL | re.ASCII
)
_BEGINS_AS_ALGEBRA = re.compile(r"\\(?:cup|cap|cdot|times|to|in|sim|cong)(?![A-Za-z])|[+=<>*/]|-\s")
_ANOTHER_OPTION = re.compile(
    r"(?:^|[\s(,;])(?:[A-J]\s*[.):](?:\s|$)|\(\s*[A-J]\s*\)|(?:or|and)\s+\(?[A-J](?![A-Za-z]))|^[A-J]$"
)


@dataclass(frozen=True, kw_only=True)
class Option:
    """A letter, and the text of the option where it is given."""

    letter: str
    text: str | None


def option(text: str) -> Option | None:
    """What `text`, normalised, chooses; None where it is no choice of one option."""
    match = _OPTION.fullmatch(text)
    if not match:
        return None
    said = match["text"]
    if said and (_BEGINS_AS_ALGEBRA.match(said) or _ANOTHER_OPTION.search(said)):
        return None
    return Option(letter=match["alone"] or match["inside"] or match["square"] or match["before"], text=said)
