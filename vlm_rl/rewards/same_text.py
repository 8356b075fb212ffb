r"""Whether two texts without name, unit and form are equal: names of points and segments, expressions, words."""

import re
from collections.abc import Callable, Sequence

from vlm_rl.rewards.expressions import SHORT_WORDS, is_expression

Equal = Callable[[Sequence[str], Sequence[str]], bool]  # expressions, or relations as members and signs in turn

_DECORATION = r"\\(?:overline|overrightarrow|vec|angle|triangle|widehat|overarc)"
_BARE_NAME = re.compile(rf"(?:m\s*)?(?P<decoration>{_DECORATION})?\s*\{{?\s*(?P<letters>[A-Z]'*(?:\s*[A-Z]'*)*)\s*\}}?")
_WORD = re.compile(r"[^\W\d_]+")
_SPACE_BESIDE_SIGN = re.compile(r"\s*([^\w\s])\s*")


def same_text(gold: str, answer: str, equal: Equal) -> bool:
    """Compare names by their letters, expressions by `equal`, other texts as words. Text never equals an expression."""
    if gold == answer:
        return True
    names = _BARE_NAME.fullmatch(gold), _BARE_NAME.fullmatch(answer)
    if names[0] and names[1]:
        return _same_name(names[0], names[1])
    if is_expression(gold) and is_expression(answer):
        return equal([gold], [answer])
    are_words = gold.isalpha() and answer.isalpha() and min(len(gold), len(answer)) > 1
    return _same_words(gold, answer) and (are_words or not (is_expression(gold) or is_expression(answer)))


def _same_name(gold: re.Match[str], answer: re.Match[str]) -> bool:
    r"""Names of points, segments, angles: `\overline{AB}` and `A B` equal AB; a decoration on one side only is ignored."""
    decorations = [match["decoration"] for match in (gold, answer)]
    letters = ["".join(match["letters"].split()) for match in (gold, answer)]
    may_be_dropped = None in decorations and not {r"\vec", r"\overrightarrow"} & set(decorations) and len(letters[0]) > 1
    return letters[0] == letters[1] and (may_be_dropped or decorations[0] == decorations[1])


def _same_words(gold: str, answer: str) -> bool:
    """Ignore spaces beside signs, and the case of whole words: Yes is yes, AaBb is not AABB."""
    ours, theirs = (
        _SPACE_BESIDE_SIGN.sub(r"\1", " ".join(text.replace('"', " ").split())).strip(" .") for text in (gold, answer)
    )
    if ours == theirs or ours.casefold() != theirs.casefold() or re.search(r"[\\_^|]", ours):
        return ours == theirs
    words = zip(
        _WORD.findall(ours), _WORD.findall(theirs), strict=False
    )  # as many, but where a letter is small in two characters
    return len(ours) == len(theirs) and all(one == other or (_is_cased(one) and _is_cased(other)) for one, other in words)


def _is_cased(word: str) -> bool:
    """Whether the case of a word means nothing: all small, all capitals, or one capital. Short capitals are a symbol."""
    if len(word) < 3:
        return word.casefold() in SHORT_WORDS.split()
    return word.islower() or word.istitle() or (word.isupper() and len(word) > 3)
