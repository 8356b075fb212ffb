r"""Compare an answer with a gold by the rules of judge.py; `equal` decides whether two expressions are equal.

In the main process `equal` raises; in a worker it calls algebra.py. Both run the same rules.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from vlm_rl.rewards.answers import Answer, Part, read_answer, read_gold
from vlm_rl.rewards.expressions import is_expression
from vlm_rl.rewards.names import may_stand_alone
from vlm_rl.rewards.options import option
from vlm_rl.rewards.same_text import Equal, same_text


def verdict(gold: str, answer: str | None, *, equal: Equal) -> str:
    """`correct`, `wrong` or `unparsable` by rules 1 to 10 of judge.py."""
    ours = read_gold(gold)
    theirs = read_answer(answer, glued_units=any(part.unit for part in ours.parts))
    if theirs.is_too_long:
        return "wrong"
    if not ours.is_readable or not theirs.is_readable:
        return "unparsable"
    return "correct" if _chooses_the_same(ours, theirs, equal) or says_the_same(ours, theirs, equal=equal) else "wrong"


def _chooses_the_same(gold: Answer, answer: Answer, equal: Equal) -> bool:
    """Whether both name the same option, with equal texts where both give one, or the answer is the text of the gold option."""
    ours = option(gold.spelling, is_gold=True)
    if ours is None:
        return _chooses_several(gold, answer)
    theirs = option(answer.spelling)
    text = None if ours.text is None else read_gold(ours.text)
    if theirs is None:
        return text is not None and text.is_readable and says_the_same(text, answer, equal=equal)
    if ours.letter != theirs.letter or text is None or theirs.text is None:
        return ours.letter == theirs.letter
    return says_the_same(text, read_answer(theirs.text), equal=equal)


def _chooses_several(gold: Answer, answer: Answer) -> bool:
    """Whether one side writes `ABD` and the other `A, B, D`. Only letters in alphabetical order are a choice: AB, not BA."""
    one, several = sorted((gold, answer), key=lambda side: len(side.parts))
    letters = one.spelling
    is_choice = len(one.parts) == 1 and re.fullmatch("[A-H]{2,6}", letters) and list(letters) == sorted(set(letters))
    return bool(is_choice) and sorted(part.text for part in several.parts) == list(letters)


def says_the_same(gold: Answer, answer: Answer, *, equal: Equal) -> bool:
    """Rules 4 to 10; both must be readable."""
    if gold.spelling == answer.spelling:
        return True
    golds, answers = _as_many(gold.parts, answer.parts), _as_many(answer.parts, gold.parts)
    if len(golds) != len(answers) or (r"\cup" in gold.spelling) != (r"\cup" in answer.spelling):
        return False
    if len(golds) == 1:
        return _same(golds[0], answers[0], equal)
    if gold.is_ordered or _is_arrangement(golds):
        return _all_same(golds, answers, equal)
    names = [{part.name for part in side} - {None} for side in (golds, answers)]
    if all(names) and _roots(names[0]) != _roots(names[1]):
        return False
    pairs = _by_name(golds, answers)
    if pairs is not None:
        return _all_same(*pairs, equal)
    return _same_in_any_order(golds, answers, equal)


def _as_many(parts: tuple[Part, ...], others: tuple[Part, ...]) -> tuple[Part, ...]:
    """`(x, y) = (3, 5)` becomes `x = 3, y = 5` where the other side has several parts."""
    if len(parts) != 1 or len(others) < 2 or not parts[0].name or not parts[0].name.startswith("("):
        return parts
    names, elements = parts[0].name.strip("()").split(","), parts[0].elements
    if len(names) != len(elements):
        return parts
    return tuple(replace(element, name=name) for name, element in zip(names, elements, strict=True))


def _roots(names: set[str | None]) -> set[str | None]:
    """The names with x_1 and x_2 as x: roots have no order."""
    return {re.sub(r"^x_\d$", "x", name) for name in names if name}


def _is_arrangement(parts: Sequence[Part]) -> bool:
    """Whether the order is the answer: three or more letters, or the numbers 1 to n, that are not ascending."""
    texts = [part.text for part in parts]
    if len(texts) < 3 or len(set(texts)) != len(texts):
        return False
    ascending = sorted(texts, key=lambda text: (len(text), text))
    is_counted = ascending == [str(number + 1) for number in range(len(texts))]
    return (is_counted or all(re.fullmatch("[A-Z]", text) for text in texts)) and texts != ascending


def _by_name(golds: Sequence[Part], answers: Sequence[Part]) -> tuple[Sequence[Part], Sequence[Part]] | None:
    """Both sides paired by name or unit where those of the gold are distinct; in the order given where the answer has none.
    None: the order does not matter."""
    for field in ("name", "unit"):
        ours, theirs = ([getattr(part, field) for part in side] for side in (golds, answers))
        if None in ours or len(set(ours)) != len(ours) or (field == "name" and _roots(set(ours)) == {"x"}):
            continue
        if set(ours) == set(theirs):
            return golds, [answers[theirs.index(label)] for label in ours]
        if not any(theirs):
            return golds, answers
    return None


def _all_same(golds: Sequence[Part], answers: Sequence[Part], equal: Equal) -> bool:
    return all(_same(gold, answer, equal) for gold, answer in zip(golds, answers, strict=True))


def _same_in_any_order(golds: Sequence[Part], answers: Sequence[Part], equal: Equal) -> bool:
    """Each answer is matched once. Equality is transitive, so the first match is enough."""
    left = list(answers)
    for gold in golds:
        found = next((i for i, answer in enumerate(left) if _same(gold, answer, equal)), None)
        if found is None:
            return False
        del left[found]
    return True


def _same(gold: Part, answer: Part, equal: Equal) -> bool:
    ours, theirs = _relation(gold), _relation(answer)
    if gold.relation or answer.relation or (ours and theirs and gold.name != answer.name):
        return bool(ours and theirs) and _same_relation(ours, theirs, equal)
    if gold.name and answer.name and len(_roots({gold.name, answer.name})) > 1:
        return False
    if gold.unit and answer.unit and gold.unit != answer.unit:
        return False
    if gold.is_definition and not answer.name and not may_stand_alone(gold.name or "", gold.text):
        return False
    if gold.elements or answer.elements:
        return _same_elements(gold, answer, equal)
    if gold.form or answer.form:
        return _same_form(gold, answer, equal)
    if gold.value is not None and answer.value is not None:
        return gold.value == answer.value
    return same_text(gold.text, answer.text, equal)


def _same_elements(gold: Part, answer: Part, equal: Equal) -> bool:
    if gold.brackets != answer.brackets or len(gold.elements) != len(answer.elements):
        return False
    compare = _same_in_any_order if gold.brackets == r"\{\}" else _all_same
    return compare(gold.elements, answer.elements, equal)


def _same_form(gold: Part, answer: Part, equal: Equal) -> bool:
    """A ratio equals its quotient on either side; a difference of angles or a product equals a number only in an answer."""
    if gold.form and answer.form:
        return gold.form.equals(answer.form)
    if gold.form:
        is_ratio = gold.form.kind == "ratio" and gold.form.number is not None
        return is_ratio and (
            gold.form.number == answer.value if answer.value is not None else _quotient_is(gold, answer, equal)
        )
    assert answer.form
    if answer.form.kind == "product":
        return same_text(gold.text, answer.text, equal)
    return answer.form.number is not None and answer.form.number == gold.value


def _quotient_is(gold: Part, answer: Part, equal: Equal) -> bool:
    assert gold.form and gold.form.number is not None
    return same_text(rf"\frac{{{gold.form.number.numerator}}}{{{gold.form.number.denominator}}}", answer.text, equal)


def _relation(part: Part) -> tuple[str, ...]:
    return part.relation or ((part.name, "=", part.text) if part.name and part.is_definition else ())


_REVERSED = {">": "<", r"\ge": r"\le", "<": "<", r"\le": r"\le"}
_SIGNS = {"<=": r"\le", ">=": r"\ge", "!=": r"\ne"}


def _same_relation(gold: Sequence[str], answer: Sequence[str], equal: Equal) -> bool:
    """Equations between names as sets, two members by their difference, chains member by member with all signs as `<`."""
    ours, theirs = _ascending(gold), _ascending(answer)
    if ours[1::2] != theirs[1::2]:
        return False
    if list(map(_bare, ours)) == list(map(_bare, theirs)):
        return True
    if all(sign in ("=", r"\cong", r"\sim", r"\parallel", r"\perp") for sign in ours[1::2]):
        if sorted(map(_bare, ours[::2])) == sorted(map(_bare, theirs[::2])):
            return True
        if ours[1] != "=":
            return False
    ours[::2], theirs[::2] = (list(map(_as_name, side[::2])) for side in (ours, theirs))
    if not all(map(is_expression, (*ours[::2], *theirs[::2]))):
        return False
    if len(ours) == 3:
        return equal(ours, theirs)
    return all(equal([a], [b]) for a, b in zip(ours[::2], theirs[::2], strict=True))


def _as_name(member: str) -> str:
    """The member in brackets where it would be a word: AB is one alone, but not beside an equals sign."""
    return member if is_expression(member) else f"({member})"


def _ascending(relation: Sequence[str]) -> list[str]:
    known = [_SIGNS.get(piece, piece) for piece in relation]
    if set(known[1::2]) <= {">", r"\ge"}:
        known.reverse()
        known[1::2] = [_REVERSED[sign] for sign in known[1::2]]
    return known


def _bare(member: str) -> str:
    """The member without spaces, braces and the line over a segment."""
    return re.sub(r"\s|[{}]|\\overline|^m(?=\\angle)", "", member)
