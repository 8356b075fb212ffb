"""The letters of a text that are neither Latin nor Greek. Reports use this module, too, so it imports no torch."""

import math
import re
import unicodedata
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

# No letter in these ranges is foreign: up to U+03FF without its Coptic letters, and signs up to U+2BFF without the letter U+2183.
MAYBE_FOREIGN_RE2 = r"[^\x00-\x{3e1}\x{3f0}-\x{3ff}\x{2000}-\x{2182}\x{2184}-\x{2bff}]"  # Arrow's RE2
_MAYBE_FOREIGN = re.compile("[^\x00-\u03e1\u03f0-\u03ff\u2000-\u2182\u2184-\u2bff]")
_LATEX_COMMAND = re.compile(r"\\[A-Za-z]+")
_MATHEMATICAL_BLOCKS = ((0x2100, 0x214F), (0x1D400, 0x1D7FF), (0x1EE00, 0x1EEFF))  # letterlike, alphanumeric, Arabic


def foreign_share(text: str) -> float:
    """Letters that are neither Latin nor Greek / all letters; 0.0 where there are no letters."""
    if text.isascii() or _MAYBE_FOREIGN.search(text) is None:
        return 0.0
    kinds = [is_foreign for character in _LATEX_COMMAND.sub("", text) if (is_foreign := _is_foreign(character)) is not None]
    return sum(kinds) / len(kinds) if kinds else 0.0


def mean_foreign_share(responses: pa.ChunkedArray) -> float:
    """The mean over a column of responses; NaN without any. Arrow skips texts without such letters."""
    suspects = responses.filter(pc.match_substring_regex(responses, MAYBE_FOREIGN_RE2))
    return math.fsum(map(foreign_share, suspects.to_pylist())) / len(responses) if len(responses) else math.nan


@lru_cache(maxsize=65536)
def _is_foreign(character: str) -> bool | None:
    """Whether a letter is foreign; None for a character that is no letter of a language."""
    code = ord(character)
    is_mathematical = any(low <= code <= high for low, high in _MATHEMATICAL_BLOCKS)
    if is_mathematical or not unicodedata.category(character).startswith("L"):
        return None
    name = unicodedata.name(character, "")
    return not (code < 0x0370 or "LATIN" in name or "GREEK" in name)  # below U+0370: Latin and its modifiers
