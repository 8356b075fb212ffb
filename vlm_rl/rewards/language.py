r"""Language: a penalty for writing in another script. The authors count Chinese characters; this is a share.

Mathematics is not a language: Greek letters, LaTeX commands, digits, signs and Unicode's mathematical alphabets cost
nothing.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from vlm_rl.datasets.row import Row
from vlm_rl.types import Response

_LATEX_COMMAND = re.compile(r"\\[A-Za-z]+")
_MATHEMATICAL_BLOCKS = ((0x2100, 0x214F), (0x1D400, 0x1D7FF), (0x1EE00, 0x1EEFF))  # letterlike, alphanumeric, Arabic


class LanguageTerm:
    """Minus the share of letters outside the Latin and Greek scripts: 0 for English, -1 for all in another script."""

    name = "language"

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[float]:
        return [-foreign_share(response.text) for response in responses]


def foreign_share(text: str) -> float:
    """Letters outside Latin and Greek / all letters; 0.0 where there are no letters, as nothing foreign was written."""
    kinds = [is_foreign for character in _LATEX_COMMAND.sub("", text) if (is_foreign := _is_foreign(character)) is not None]
    return sum(kinds) / len(kinds) if kinds else 0.0


@lru_cache(maxsize=65536)
def _is_foreign(character: str) -> bool | None:
    """None for what is no letter of a language."""
    code = ord(character)
    is_mathematical = any(low <= code <= high for low, high in _MATHEMATICAL_BLOCKS)
    if is_mathematical or not unicodedata.category(character).startswith("L"):
        return None
    name = unicodedata.name(character, "")
    return not (code < 0x0370 or "LATIN" in name or "GREEK" in name)  # below U+0370: Latin and its modifiers
