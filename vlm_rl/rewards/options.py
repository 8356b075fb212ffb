r"""Multiple choice: `A`, `(A)`, `A.`, `option A` and `A. 35` name option A. The text 35 is correct for the gold `A. 35`, too."""

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
    """The letter of an option, and its text where that is given."""

    letter: str
    text: str | None


def option(text: str, *, is_gold: bool = False) -> Option | None:
    """The option that a normalised `text` names, None where it does not name exactly one. In a gold its text may be a letter."""
    match = _OPTION.fullmatch(text)
    if not match:
        return None
    option_text = match["text"]
    if option_text and (
        (match["open"] and _BEGINS_AS_ALGEBRA.match(option_text)) or (not match["gap"] and not re.match(r"[\d\\]", option_text))
    ):
        return None  # (A) \cup (B), A.B
    if option_text and not is_gold and _ANOTHER_OPTION.search(option_text):
        return None
    return Option(letter=(match["alone"] or match["inside"] or match["before"]).upper(), text=option_text)
