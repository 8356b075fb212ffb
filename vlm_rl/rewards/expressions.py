r"""Tell algebra from text. An expression consists of numbers, single letters, names and commands that algebra.py can read.

Several capitals are one name (`AB` is not `BA`), and so is a letter with its index, prime or arrow. Anything else is compared as
text.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from vlm_rl.rewards.characters import GREEK

_FUNCTIONS = (
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp frac sqrt binom pi cdot times infty "
    "lfloor rfloor lceil rceil"
)
_DECORATIONS = "vec hat bar overline overrightarrow overleftarrow widehat overarc tilde angle triangle dot ddot"


def _any_of(words: Iterable[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True)) + "(?![A-Za-z])"


def _index(name: str) -> str:
    return rf"(?:\s*_\s*(?:\{{(?P<braced_{name}>[^{{}}]*)\}}|(?P<short_{name}>\w)))?"


_INSIDE = r"\([^()]*(?:\([^()]*(?:\([^()]*\)[^()]*)*\)[^()]*)*\)"
_APPLIED = (
    rf"[fgFG]'*{_INSIDE}|[A-Za-z]'*\(\s*(?:[A-Za-z]|[^()]*(?:\||\\cap|\\cup)[^()]*)\s*\)"  # f(2x) is no product, P(A|B) neither
)
_TOKEN = re.compile(
    rf"\\(?P<decoration>{_any_of(_DECORATIONS.split())})\s*(?:\{{(?P<decorated>[^{{}}]*)\}}|(?P<bare>[A-Za-z']+|\d)){_index('decorated')}"
    rf"|(?P<applied>{_APPLIED})"
    rf"|\\(?P<greek>{_any_of(GREEK - {'pi'})}){_index('greek')}(?P<greek_primes>'*)"
    r"|\\log\s*_\s*(?:\{(?P<base>[2-9]|[1-9]\d+|[a-z])\}|(?P<short_base>[2-9a-z]))"
    rf"|\\(?P<function>{_any_of(_FUNCTIONS.split())})"
    rf"|(?P<letters>[A-Za-z]+){_index('letters')}(?P<primes>'*)"
    r"|(?P<number>\d+(?:\.\d*)?|\.\d+)"
    r"|(?P<sign>[-+*/^(){}\[\]|!\s])"
)
_PRODUCTS = re.compile(r"[b-df-hj-np-tv-z]{2,3}|[abc]{2,3}|[xyz]{2,3}|[a-z]{2}")  # letters that form no word
SHORT_WORDS = "no on in it is at as an am be by do go he if me my of or so to up us we ox ax hi iv vi ix xi"
_NO_ALGEBRA = re.compile(
    r"(?<=[\d.])\s+(?=[\d.])|\.\d*\.|\d(?:st|nd|rd|th)(?![A-Za-z])"  # 3 20, 1.2.3, 1st
    r"|(?<![\\A-Za-z])[A-Za-z]\s*\d"  # x2, 3 R 2
    r"|\\frac\{d(?:\^\{\d\})?\s*[a-zA-Z]?\}\{d\s*[a-z]"  # dy/dx
    r"|\\(?:vec|hat|overrightarrow)\b.*\\(?:times|cdot)(?![A-Za-z])|(?<![A-Za-z\\])[A-Z]\s*\\times"  # of vectors, of sets
    r"|\\infty.|.{2,}\\infty"
)


def is_expression(text: str) -> bool:
    """Whether algebra.py can read the text."""
    return encoded(text) is not None


@lru_cache(maxsize=16384)
def encoded(text: str) -> str | None:
    """`text` with each name as one symbol and each decimal as a fraction, for the parser; None where it is no algebra."""
    is_prose = _is_word(text) or any(word.islower() and _is_word(word) for word in text.split())
    if is_prose or _NO_ALGEBRA.search(text) or not _closes(text):
        return None
    pieces: list[str] = []
    at = 0
    for match in _TOKEN.finditer(text):
        if match.start() != at:
            return None
        piece = _encoded(match)
        if piece is None:
            return None
        needs_sign = (
            piece[0] == "(" and pieces and re.search(r"[\d.]$|^(?:s_|[a-z] $)", pieces[-1])
        )  # 3(2) is no mixed number, a(b) no function
        pieces.append(r"\cdot " * bool(needs_sign) + piece)
        at = match.end()
    whole = "".join(pieces)
    return whole if at == len(text) and re.search(r"[0-9A-Za-z]", whole) else None


def _encoded(match: re.Match[str]) -> str | None:
    if match["sign"]:
        return match["sign"]
    if match["number"]:
        whole, _, decimals = match["number"].partition(".")
        return rf"(\frac{{{int(whole + decimals)}}}{{1{'0' * len(decimals)}}})" if decimals.strip("0") else whole or "0"
    if base := match["base"] or match["short_base"]:
        return rf"\log_{{{base if base.isdigit() else _symbol(base)}}} "
    if match["function"]:
        return rf"\{match['function']} "
    if match["decoration"]:
        inside = match["decorated"] if match["decorated"] is not None else match["bare"]
        return _symbol(f"{match['decoration']}:{inside}_{_index_of(match, 'decorated') or ''}")
    if match["applied"]:
        return _symbol(match["applied"])
    if match["greek"]:
        return _symbol(f"\\{match['greek']}_{_index_of(match, 'greek') or ''}{match['greek_primes']}")
    return _of_letters(match["letters"], index=_index_of(match, "letters"), primes=match["primes"])


def _index_of(match: re.Match[str], name: str) -> str | None:
    braced: str | None = match[f"braced_{name}"]
    short: str | None = match[f"short_{name}"]
    return short if braced is None else braced


def _of_letters(letters: str, *, index: str | None, primes: str) -> str | None:
    """Capitals are one name, small letters a product; the index belongs to the last one."""
    if len(letters) > 3 or re.search("[A-Z][a-z]{2}", letters):
        return None
    names = [letters] if letters.isupper() else list(letters)
    *before, last = names
    indexed = f"{last}_{index}" if index is not None else last
    return "".join(map(_letter, before)) + (_letter(indexed) if indexed == last and not primes else _symbol(indexed + primes))


def _letter(name: str) -> str:
    """A small letter as it is; capitals (the parser reads them as small letters), d and f as symbols."""
    return f"{name} " if len(name) == 1 and name.islower() and name not in "df" else _symbol(name)


def _symbol(name: str) -> str:
    """A symbol for a name: s with the characters as its index."""
    characters = "".join(name.split()).encode()
    return f"s_{{{int.from_bytes(characters, 'big')}}} "


def _is_word(text: str) -> bool:
    r"""Whether the text is letters only and no product: RSR, red, no. A single letter is a name."""
    if not text.isalpha() or not text.isascii() or len(text) == 1:
        return False
    return not _PRODUCTS.fullmatch(text) or text in SHORT_WORDS.split()


def _closes(text: str) -> bool:
    """Whether brackets close in their order, and bars come in pairs."""
    open_brackets: list[str] = []
    for character in re.sub(r"\\[{}]", "", text):
        if character in "([{":
            open_brackets.append(character)
        elif character in ")]}" and (not open_brackets or open_brackets.pop() + character not in ("()", "[]", "{}")):
            return False
    return not open_brackets and text.count("|") % 2 == 0
