"""Arms in the sentences of the first page: their names in plain words, and one line for many arms that it is true of."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from vlm_rl.reports.phrase import Phrase, listed, names, paragraph, phrase_of, say, say_named
from vlm_rl.reports.reading.arms import Arm

MOST_NAMED = 3  # arms in one place; more are counted
OF_ARMS = ("arm", "reference")  # values of templates that are labels of arms
BEGINS_WITH = ("first", "text")  # values of what joins sentences


def name_of(arm: Arm) -> str:
    """`RL with GRPO (grpo)`, with whatever else the label says; an algorithm of the user's own keeps its label."""
    algorithm = arm.runs[0].run.algorithm
    plain = names("algorithms").get(algorithm)
    if plain is None or not arm.label.startswith(algorithm):
        return arm.label
    rest = arm.label.removeprefix(algorithm).strip(" ()")  # `grpo (variant)`
    return say("{name} ({code})", name=plain, code=f"{algorithm}, {rest}" if rest else algorithm)


def with_names(phrase: Phrase, *, by_label: Mapping[str, str]) -> Phrase:
    """The same sentences, with arms called by other names than their labels."""
    return _changed(phrase, lambda key, value: by_label.get(value, value) if key in OF_ARMS else value)


def few_named(arms: Sequence[str], *, counted: Callable[[int], Phrase]) -> Phrase:
    """Some arms by name; more as a count."""
    return listed(arms) if len(arms) <= MOST_NAMED else counted(len(arms))


def few(lines: Iterable[Phrase]) -> Iterator[Phrase]:
    """Lines that differ in nothing but the arm become one; of one kind with other figures for many arms, the first stands for all."""
    kinds: dict[str, dict[str, list[Phrase]]] = {}
    for line in lines:
        alike = kinds.setdefault(_beginning(line).template, {})
        alike.setdefault(_changed(line, lambda key, value: "" if key == "arm" else value), []).append(line)
    for alike in kinds.values():
        shown, *others = map(_as_one, alike.values())
        if len(others) < MOST_NAMED:
            yield from (shown, *others)
        else:
            more = sum(map(len, alike.values())) - len(next(iter(alike.values())))
            yield paragraph(shown, say_named("risks.likewise", count=more))


def _as_one(lines: Sequence[Phrase]) -> Phrase:
    arms = list(dict.fromkeys(str(_beginning(line).values.get("arm")) for line in lines))
    if len(arms) == 1:
        return lines[0]
    together = few_named(arms, counted=lambda count: say("{count} arms", count=count))
    return _changed(lines[0], lambda key, value: together if key == "arm" else value)


def _beginning(phrase: Phrase) -> Phrase:
    """The first sentence of a paragraph."""
    first = next((value for key in BEGINS_WITH if isinstance(value := phrase.values.get(key), Phrase)), None)
    return phrase if first is None else _beginning(first)


def _changed(phrase: Phrase, change: Callable[[str, Any], Any]) -> Phrase:
    """The phrase with other values, at every depth."""
    values = {
        key: _changed(value, change) if isinstance(value, Phrase) and key not in OF_ARMS else change(key, value)
        for key, value in phrase.values.items()
    }
    return phrase_of(phrase.template, values)
