"""Values of other people in our messages: as they are, and of long ones so much that a person knows which one is meant."""

from collections.abc import Iterable

LONGEST_VALUE = 100  # characters of a name, an answer, an id
LONGEST_LINE = 1000  # characters of a line of a message, which names several paths and a command


def shown(value: object, *, most: int = LONGEST_VALUE) -> str:
    """The value as `repr` has it; of a long one the beginning, and how many characters it has."""
    text = repr(value)
    if len(text) <= most:
        return text
    length = len(value) if isinstance(value, str) else len(text)
    quote = text[0] if isinstance(value, str) else ""
    return f"{text[:most]}...{quote} ({length:,} characters)"


def listing(values: Iterable[object], *, most: int = 20) -> str:
    """Names with commas between them: the first ones, and the number of the others."""
    names = [shortened(str(value), most=LONGEST_VALUE) for value in values]
    return ", ".join([*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])])


def shortened(text: str, *, most: int = LONGEST_LINE) -> str:
    """The text, of a long one beginning and end: a line that ends in what to do, a path that ends in a name."""
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - end]} ... {text[-end:]}"


def lines_shortened(text: str) -> str:
    """A message whose lines are all of a length that a person reads."""
    return "\n".join(map(shortened, text.split("\n")))
