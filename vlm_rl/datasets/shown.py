"""Values in messages; long ones are shortened so that a reader still recognises them."""

from collections.abc import Iterable

LONGEST_VALUE = 100  # characters of a name, an answer, an id
LONGEST_LINE = 1000  # characters of a line of a message, which names several paths and a command


def shown(value: object, *, most: int = LONGEST_VALUE) -> str:
    """`repr(value)`; of a long one the beginning and the number of characters."""
    text = repr(value)
    if len(text) <= most:
        return text
    length = len(value) if isinstance(value, str) else len(text)
    quote = text[0] if isinstance(value, str) else ""
    return f"{text[:most]}...{quote} ({length:,} characters)"


def listing(values: Iterable[object], *, most: int = 20) -> str:
    """Names with commas between them; of many the first ones and the number of the others."""
    names = [shortened(str(value), most=LONGEST_VALUE) for value in values]
    return ", ".join([*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])])


def shortened(text: str, *, most: int = LONGEST_LINE) -> str:
    """The text; of a long one beginning and end, since a message ends with the fix and a path with the name."""
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - end]} ... {text[-end:]}"


def lines_shortened(text: str) -> str:
    """The text with each of its lines shortened."""
    return "\n".join(map(shortened, text.split("\n")))
