"""JSON with one meaning: what Python's reader would take silently, or answer with a traceback, is refused in words."""

import json
import math
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

LONGEST_NUMBER = 4300  # characters; Python's own limit for whole numbers
SHOWN = 40  # characters of a key or a number in a message


class NotStrict(ValueError):
    """What stands there is JSON to Python's reader and not to everyone's, or far too much: what, and what to do."""


def read_strictly(line: bytes) -> Any:
    """The value. Raises NotStrict, json.JSONDecodeError, or RecursionError where brackets are nested too deeply."""
    return json.loads(line, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_number)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise NotStrict(f"holds {_short(twice)} twice in one object, and the first would be lost. Keep one of them.")
    return found


def _constant(word: str) -> Any:
    raise NotStrict(f"holds {word}, which is no JSON. Write null, or a text in quotes.")


def _integer(digits: str) -> int:
    return int(_bounded(digits))


def _number(digits: str) -> float | str:
    """A float where it holds the whole number, and else the text as it is written: no digit is lost."""
    value = float(_bounded(digits))
    if not math.isfinite(value):
        raise NotStrict(f"holds the number {_short(digits)}, which is too large. Write it as a text in quotes.")
    try:
        return value if Decimal(digits) == Decimal(str(value)) else digits
    except InvalidOperation:  # an exponent of twenty digits
        return digits


def _bounded(digits: str) -> str:
    if len(digits) > LONGEST_NUMBER:
        raise NotStrict(
            f"holds a number that is too long: {len(digits):,} characters, more than {LONGEST_NUMBER}. "
            "Write it as a text in quotes."
        )
    return digits


def _short(text: str) -> str:
    return ascii(text if len(text) <= SHOWN else text[:SHOWN] + "...")
