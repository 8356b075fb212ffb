"""Arms in the sentences of the first page: their names in plain words, and one line for many arms that it is true of."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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
    """The same sentence, with arms called by other names than their labels."""
    named = {key: by_label.get(value, value) for key, value in phrase.values.items() if key in OF_ARMS}
    return phrase_of(phrase.template, {**phrase.values, **named})


def few_named(arms: Sequence[str], *, counted: Callable[[int], Phrase]) -> Phrase:
    """Some arms by name; more as a count."""
    return listed(arms) if len(arms) <= MOST_NAMED else counted(len(arms))


def few(lines: Iterable[Phrase]) -> Iterator[Phrase]:
    """Lines that differ in nothing but the arm become one; of one kind with other figures for many arms, the first stands for all."""
    kinds: dict[str, dict[str, list[Phrase]]] = {}
    for line in lines:
        alike = kinds.setdefault(_kind(line), {})
        alike.setdefault(_with_arm(line, ""), []).append(line)
    for alike in kinds.values():
        shown, *others = map(_as_one, alike.values())
        if len(others) < MOST_NAMED:
            yield from (shown, *others)
        else:
            more = sum(map(len, alike.values())) - len(next(iter(alike.values())))
            yield paragraph(shown, say_named("risks.likewise", count=more))


def _kind(line: Phrase) -> str:
    """The template of its first sentence, and of what that says of an arm."""
    first = _beginning(line)
    return first.template + getattr(first.values.get("flag"), "template", "")


def _as_one(lines: Sequence[Phrase]) -> Phrase:
    arms = list(dict.fromkeys(str(_beginning(line).values.get("arm")) for line in lines))
    if len(arms) == 1:
        return lines[0]
    return _with_arm(lines[0], few_named(arms, counted=lambda count: say("{count} arms", count=count)))


def _beginning(phrase: Phrase) -> Phrase:
    """The first sentence of a paragraph."""
    key = _joins(phrase)
    return phrase if key is None else _beginning(phrase.values[key])


def _with_arm(phrase: Phrase, arm: str) -> Phrase:
    """The paragraph with another arm in its first sentence; one that names none stays."""
    key = _joins(phrase)
    other = {"arm": arm} if "arm" in phrase.values else {}
    return phrase_of(
        phrase.template, {**phrase.values, **(other if key is None else {key: _with_arm(phrase.values[key], arm)})}
    )


def _joins(phrase: Phrase) -> str | None:
    """Under which name the first sentence stands, where others follow it."""
    return next((key for key in BEGINS_WITH if isinstance(phrase.values.get(key), Phrase)), None)
