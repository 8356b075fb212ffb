r"""Judge each gold before training: against itself, three near misses, and the spellings in which a model would write it.

Results are positions in `golds`; the caller turns them into row ids and messages.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from vlm_rl.rewards.answers import Part, read_gold
from vlm_rl.rewards.boxed import has_box
from vlm_rl.rewards.expressions import is_expression
from vlm_rl.rewards.judge import Judge, Verdict
from vlm_rl.rewards.options import option

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\d])", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class GoldCheck:
    """Positions of the golds that cannot be trained on; empty tuples: every gold can."""

    unparsable: tuple[int, ...]  # no answer can be compared with it
    not_equal_to_itself: tuple[int, ...]  # a perfect answer would be wrong
    equal_to_a_near_miss: tuple[int, ...]  # a wrong answer would be right
    not_reached: tuple[int, ...] = ()  # usable, but the usual spelling is judged wrong: the gold holds more than the answer

    @property
    def failing(self) -> tuple[int, ...]:
        """All positions that fail for any reason, ascending."""
        return tuple(sorted({*self.unparsable, *self.not_equal_to_itself, *self.equal_to_a_near_miss}))


def check_golds(judge: Judge, golds: Sequence[str]) -> GoldCheck:
    """Judges each distinct gold once: can it be read, against itself, against its near misses."""
    distinct = list(dict.fromkeys(golds))
    unparsable = {gold for gold, is_parsable in zip(distinct, judge.are_parsable(distinct), strict=True) if not is_parsable}
    unequal = {gold for gold, is_right in _judged(judge, distinct, lambda gold: [gold]) if not is_right}
    parsable = [gold for gold in distinct if gold not in unparsable]
    too_easy = {gold for gold, is_right in _judged(judge, parsable, near_misses) if is_right}
    fit = [gold for gold in parsable if gold not in unequal | too_easy]
    not_reached = {gold for gold, is_right in _judged(judge, fit, usual_spellings) if not is_right}
    return GoldCheck(
        not_reached=_positions(golds, not_reached),
        unparsable=_positions(golds, unparsable),
        not_equal_to_itself=_positions(golds, unequal),
        equal_to_a_near_miss=_positions(golds, too_easy),
    )


def _judged(judge: Judge, golds: Sequence[str], answers: Callable[[str], list[str]]) -> list[tuple[str, bool]]:
    """For each answer to each gold: the gold, and whether the answer is right."""
    pairs = [(gold, as_response(answer)) for gold in golds for answer in answers(gold)]
    verdicts = judge.judge([response for _, response in pairs], [gold for gold, _ in pairs])
    if judge.num_not_judged:
        raise ValueError(
            f"{judge.num_not_judged} of {len(pairs)} checks of golds were not made: golds that are too costly to compare used up "
            "reward.judge.budget_s, or something killed the judge's processes. Raise it, for example reward.judge.budget_s=3000."
        )
    return [(gold, verdict is Verdict.CORRECT) for (gold, _), verdict in zip(pairs, verdicts, strict=True)]


def near_misses(gold: str) -> list[str]:
    """Three wrong answers close to a parsable `gold`: plus 1, plus 1/100, the negative (2 for 0); or other words."""
    *others, last = read_gold(gold).parts
    kept = [part.text for part in others]
    return [", ".join([*kept, miss]) for miss in _near_misses_of(last)]


def usual_spellings(gold: str) -> list[str]:
    """How a model would write `gold`: in dollars, and, where it has one number beside other text, that number alone."""
    read = read_gold(gold)
    text = read.spelling
    numbers = _NUMBER.findall(text)
    is_itself = len(read.parts) != 1 or option(text) is not None or _is_more_than_a_number(read.parts[0])
    return [f"${text}$"] if is_itself or len(numbers) != 1 else [f"${text}$", numbers[0]]


def as_response(answer: str) -> str:
    r"""The shortest response that gives this answer."""
    return answer if has_box(answer) else rf"\boxed{{{answer}}}"


def _near_misses_of(part: Part) -> list[str]:
    if part.value is not None:
        return [str(part.value + 1), str(part.value + Fraction(1, 100)), str(-part.value or 2)]
    if part.form is not None:
        numbers = re.findall(r"\d+", part.text)
        return [re.sub(r"\d+", lambda match: str(int(match[0]) + 1), part.text), " - ".join(reversed(numbers)), *numbers[-1:]]
    if part.is_words:
        return [f"not {part.text}", f"{part.text} {part.text}", "0"]
    return [f"{part.text} + 1", rf"{part.text} + \frac{{1}}{{100}}", f"{part.text} - 1"]


def _is_more_than_a_number(part: Part) -> bool:
    r"""Whether the number in it is only a part of the value: 2x + 1, \sqrt{2}, a range."""
    if part.value is not None:
        return part.text.casefold() != part.text or " " in part.text  # 12 hundred
    return bool(part.form or part.relation or part.elements or is_expression(part.text))


def _positions(golds: Sequence[str], chosen: set[str]) -> tuple[int, ...]:
    return tuple(index for index, gold in enumerate(golds) if gold in chosen)
