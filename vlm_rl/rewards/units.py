r"""The unit at the end of an answer, by one name for all its spellings. Nothing is converted.

Degrees and per cent are units, too. A unit of one letter counts only after a space or in `\text{}`: `5 m` is a length, `5m` may be
algebra. In a gold with at least two digits `34m` is a length.
"""

import re
from fractions import Fraction

from vlm_rl.rewards.exact_numbers import UNSIGNED, exact_number

_NAMES: dict[str, str] = {
    "mm": "mm|millimet(?:er|re)s?", "cm": "cm|cms|centimet(?:er|re)s?", "dm": "dm|decimet(?:er|re)s?", "m": "m|met(?:er|re)s?",
    "km": "km|kms|kilomet(?:er|re)s?", "nm": "nm|nanomet(?:er|re)s?", "um": r"um|\\mu\s*m|microns?|micromet(?:er|re)s?",
    "in": "in|inch|inches", "ft": "ft|foot|feet", "yd": "yd|yards?", "mi": "mi|miles?", "mph": "mph", "kph": "kph|kmh",
    "mg": "mg|milligrams?", "g": "g|grams?|gm", "kg": "kgs?|kilograms?|kilos?", "t": "tons?|tonnes?", "lb": "lbs?|pounds?",
    "oz": "oz|ounces?",
    "ms": "ms|milliseconds?", "s": "s|secs?|seconds?", "min": "mins?|minutes?", "h": "h|hrs?|hours?", "day": "days?", "week": "weeks?",
    "month": "months?", "year": "years?|yrs?", "L": "L|l|lit(?:er|re)s?", "mL": "ml|mL|millilit(?:er|re)s?", "gal": "gal|gallons?",
    "qt": "qt|quarts?", "ha": "ha|hectares?", "acre": "acres?",
    "dollar": "dollars?|USD", "cent": "cents?", "euro": "euros?|EUR", "gbp": "gbp", "yen": "yen",
    "rad": "rad|radians?", "N": "N|newtons?", "J": "J|joules?", "kJ": "kJ|kilojoules?", "W": "W|watts?",
    "kW": "kW|kilowatts?", "kWh": "kWh",
    "V": "V|volts?", "mV": "mV", "A": "A|amps?|amperes?", "mA": "mA", "ohm": r"\\Omega|ohms?", "kohm": r"k\s*\\Omega",
    "Pa": "Pa|pascals?", "kPa": "kPa",
    "MPa": "MPa", "atm": "atm", "Hz": "Hz|hertz", "kHz": "kHz", "MHz": "MHz", "K": "K|kelvins?", "mol": "mol|moles?", "T": "T|teslas?",
    "eV": "eV", "MeV": "MeV", "cal": "cal|calories?", "kcal": "kcal", "dB": "dB",
    "C": r"C|(?:\^\s*\\circ\s*|°\s*)C|degrees?\s+C(?:elsius)?|celsius",
    "F": r"(?:\^\s*\\circ\s*|°\s*)F|degrees?\s+F(?:ahrenheit)?|fahrenheit", "coulomb": "coulombs?",
    "": "(?:square |cubic )?units?",  # "5 units" names no unit
}  # fmt: skip
_NAME = "|".join(f"(?:{names})" for names in _NAMES.values())
_POWER = r"(?:\s*\^\s*(?:-?[123]|\{\s*-?[123]\s*\})|\s+squared|\s+cubed|(?<=[a-z])[23])?"
_TERM = rf"(?:(?:sq\.?|square|cubic|cu\.?)\s*)?(?:{_NAME})\.?{_POWER}"
_AFTER_VALUE = (
    r"(?:(?<=[\d)}!])(?=[A-Za-z]{2}|[A-Za-z]/|\s|°|\^|\\)"  # a digit or a closed bracket, then a space or two letters: 5 m, 5cm, not 5m
    r"|(?<=\\pi)(?=\s)"
    r"|(?<![A-Za-z\\][A-Za-z])(?<=[A-Za-z])(?=\s+[a-z]))"  # one letter, then a space: x cm
)
_UNIT = re.compile(rf"{_AFTER_VALUE}\s*(?P<unit>{_TERM}(?:\s*(?:/|per\b|\\cdot|\*|(?<=[A-Za-z])\s)\s*{_TERM}){{0,2}})$")
_GLUED = re.compile(r"(?P<number>[+-]?(?:\d{2,}(?:\.\d*)?|\d*\.\d+))(?P<unit>[mgshLNVWJAK](?:\^\{?[23]\}?)?)(?<!0s)", re.ASCII)
_SIGNS = (
    (re.compile(r"\s*(?:\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\})|\\circ|°|(?<![A-Za-z])deg(?:rees?)?\.?)$"), "degree"),
    (re.compile(r"\s*(?:\\?%|(?<![A-Za-z])per\s?cent)$"), "percent"),
)
_CANONICAL = [(re.compile(names), unit) for unit, names in _NAMES.items()]
_PIECES = re.compile(
    rf"(?P<per>/|per\b)|(?P<before>square|sq|cubic|cu)?\.?\s*(?P<name>{_NAME})(?![A-Za-z])\.?"
    r"(?:\s*(?P<power>\^\s*-?\d|\^\s*\{\s*-?\d\s*\}|[23])|\s+(?P<word>squared|cubed))?"
)
_LONGEST = 60  # characters: no unit is longer, so a long answer costs no search

_NO_NOUN = (  # words after a number that change its value
    "hundred thousand million billion trillion lakh crore dozen gross score pair half halve third quarter fourth fifth sixth seventh "
    "eighth ninth tenth eleventh twelfth hundredth thousandth millionth ten twenty thirty time double triple squared cubed plus minus "
    "over less more fewer than out of in or and to am pm by mod modulo base factorial percent point repeating recurring per is are "
    "only not about approximately greater before after past below above negative positive multiplied divided root power noon bce"
)
_NO_NOUNS = frozenset(_NO_NOUN.split())
_NOUN = re.compile(rf"(?P<number>[+-]?{UNSIGNED})\s+(?P<noun>[A-Za-z]{{3,20}}(?:\s[A-Za-z]{{3,20}})?)", re.ASCII)
_COMPOUNDS = ({"day": 86400, "h": 3600, "min": 60, "s": 1}, {"mi": 63360, "yd": 36, "ft": 12, "in": 1}, {"lb": 16, "oz": 1},
              {"km": 100000, "m": 100, "cm": 1}, {"kg": 1000, "g": 1}, {"degree": 3600, "arcmin": 60, "arcsec": 1})  # fmt: skip
_PIECE = re.compile(
    rf"\s*(?P<number>{UNSIGNED})\s*(?P<unit>\^\\circ|°|degrees?|''|'|\"|{_NAME})(?![A-Za-z])\.?,?\s*(?:and\s+)?", re.ASCII
)
_OF_ANGLES = dict.fromkeys((r"^\circ", "°", "degrees", "degree"), "degree") | {"'": "arcmin", "''": "arcsec", '"': "arcsec"}


def split_unit(text: str, *, glued: bool = False) -> tuple[str, str | None]:
    """`text` without its unit, and the unit's canonical name; None where it names none. `glued`: `34m` ends with one."""
    start = max(0, len(text) - _LONGEST)
    for pattern, name in _SIGNS:
        if (match := pattern.search(text, start)) and match.start() > 0:
            return text[: match.start()], name
    if (match := _UNIT.search(text, start)) and _may_follow(text[: match.start()], match["unit"]):
        return text[: match.start()], _canonical(match["unit"])
    if glued and (match := _GLUED.fullmatch(text)):
        return match["number"], _canonical(match["unit"])
    if (match := _NOUN.fullmatch(text)) and _is_thing(match["noun"].casefold()):
        return match["number"], re.sub(r"(?<=[xh])es\b|s\b", "", match["noun"].casefold())
    return text, None


def _may_follow(value: str, unit: str) -> bool:
    r"""Whether one letter is a unit: after a plain number, and m after a text without letters. `\pi r^2 h` has no hours."""
    if re.search("[A-Za-z]{2}|[°^]", unit):
        return True
    return exact_number(value) is not None or (unit == "m" and not re.search(r"(?<![\\A-Za-z])[A-Za-z]", value))


def compound(text: str) -> tuple[Fraction, str] | None:
    """`2 h 15 min` or `30^\\circ 30'` as a number of its first unit; None where it is none."""
    pieces: list[tuple[Fraction, str]] = []
    at = 0
    while match := _PIECE.match(text, at):
        unit = _OF_ANGLES.get(match["unit"]) or _canonical(match["unit"])
        unit = {("h", "m"): "min", ("degree", "min"): "arcmin", ("arcmin", "s"): "arcsec"}.get(
            (pieces[-1][1] if pieces else "", unit or ""), unit
        )
        pieces.append((Fraction(match["number"]), unit or ""))
        at = match.end()
    if at < len(text) or len(pieces) < 2:
        return None
    factors = next((factors for factors in _COMPOUNDS if pieces[0][1] in factors), {})
    order = [list(factors).index(unit) if unit in factors else -1 for _, unit in pieces]
    if -1 in order or order != sorted(set(order)):
        return None
    seconds = sum(number * factors[unit] for number, unit in pieces)
    return Fraction(seconds, factors[pieces[0][1]]), pieces[0][1]


def _is_thing(noun: str) -> bool:
    """Whether the words after a number are things that are counted: apples, but not dozens, which change the value."""
    return not any({word, word.rstrip("s")} & _NO_NOUNS for word in noun.split())


def _canonical(unit: str) -> str | None:
    """One name for `square meters`, `sq m`, `m^{2}` and `m^2`, for `m/s^2` and `m s^{-2}`; None for plain `units`."""
    powers: dict[str, int] = {}
    sign = 1
    for piece in _PIECES.finditer(unit):
        if piece["per"]:
            sign = -1
            continue
        name = next(name for pattern, name in _CANONICAL if pattern.fullmatch(piece["name"]))
        before = {"s": 2, "c": 3}.get((piece["before"] or " ")[0], 1)
        after = {"squared": 2, "cubed": 3}.get(piece["word"] or "") or int((piece["power"] or "1").strip("^{} "))
        powers[name] = powers.get(name, 0) + sign * before * after
    return " ".join(f"{name}{'' if power == 1 else power}" for name, power in sorted(powers.items()) if name) or None
