r"""Units at the end of an answer: which text is one, and which two name the same. Nothing is ever converted.

Degrees and per cent are units like any other. A one-letter unit counts only after a space or in `\text{}`: `5 m` is a
length, `5m` may be algebra.
"""

import re

_NAMES: dict[str, str] = {
    "mm": "mm|millimet(?:er|re)s?",
    "cm": "cm|cms|centimet(?:er|re)s?",
    "dm": "dm|decimet(?:er|re)s?",
    "m": "m|met(?:er|re)s?",
    "km": "km|kilomet(?:er|re)s?",
    "in": "in|inch|inches",
    "ft": "ft|foot|feet",
    "yd": "yd|yards?",
    "mi": "mi|miles?",
    "g": "g|grams?",
    "kg": "kg|kilograms?",
    "lb": "lbs?|pounds?",
    "s": "s|secs?|seconds?",
    "min": "mins?|minutes?",
    "h": "h|hrs?|hours?",
    "day": "days?",
    "L": "L|lit(?:er|re)s?",
    "mL": "ml|mL|millilit(?:er|re)s?",
    "dollar": "dollars?|USD",
    "cent": "cents?",
    "rad": "rad|radians?",
    "": "units?",  # "5 units" names no unit
}
_NAME = "|".join(f"(?:{names})" for names in _NAMES.values())
_TERM = rf"(?:(?:sq\.?|square|cubic|cu\.?)\s+)?(?:{_NAME})\.?(?:\s*\^\s*(?:[23]|\{{\s*[23]\s*\}})|\s+squared|\s+cubed)?"
_AFTER_VALUE = (
    r"(?:(?<=[\d)}])(?=[A-Za-z]{2}|\s)"  # a digit or a closed bracket, then a space or two letters: 5 m, 5cm, not 5m
    r"|(?<=\\pi)(?=\s)"
    r"|(?<![A-Za-z\\][A-Za-z])(?<=[A-Za-z])(?=\s))"  # one letter, then a space: x cm
)
_UNIT = re.compile(rf"{_AFTER_VALUE}\s*(?P<unit>{_TERM}(?:\s*(?:/|per)\s*{_TERM})?)$")
_SIGNS = (
    (re.compile(r"\s*(?:\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree|°|(?<![A-Za-z])deg(?:rees?)?\.?)$"), "degree"),
    (re.compile(r"\s*(?:\\?%|(?<![A-Za-z])per\s?cent)$"), "percent"),
)
_CANONICAL = [(re.compile(rf"\b(?:{names})\b"), unit) for unit, names in _NAMES.items()]
_LONGEST = 60  # characters: no unit is longer, so a long answer costs no search


def split_unit(text: str) -> tuple[str, str | None]:
    """`text` without its unit, and the unit's canonical name; None where it names none."""
    start = max(0, len(text) - _LONGEST)
    for pattern, name in _SIGNS:
        if (match := pattern.search(text, start)) and match.start() > 0:
            return text[: match.start()], name
    if match := _UNIT.search(text, start):
        return text[: match.start()], _canonical(match["unit"])
    return text, None


def _canonical(unit: str) -> str | None:
    """One name for `square meters`, `sq m`, `m^{2}` and `m^2`; None for plain `units`."""
    power = "3" if re.search(r"3|cu", unit) else "2" if re.search(r"2|sq", unit) else ""
    found = [name for word in re.split(r"/|\bper\b", unit) for pattern, name in _CANONICAL if pattern.search(word) and name]
    return "/".join(found) + power if found else None
