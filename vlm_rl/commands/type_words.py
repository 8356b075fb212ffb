"""The message for a value of the wrong type: the value, its type, the expected type, and an override that works."""

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "a word", NoneType: "null"}  # of a setting, in words
FOUND = {
    bool: "true or false",
    int: "an integer",
    float: "a number with a point",
    NoneType: "null",
    list: "a list",
    dict: "a mapping",
}
EXAMPLES = {int: "1", float: "0.5", bool: "true", str: "WORD", NoneType: "null"}
MOST = 200  # characters of a value


def wrong_type(key: str, value: Any, hint: Any, *, is_written: bool) -> str:
    """`is_written`: the value is an interpolation, shown as it stands in the config."""
    shown = (value if isinstance(value, str) else json.dumps(value, default=str))[:MOST]
    wrong = f"{key}={shown}, but it takes {words_of(hint)}."
    if is_written:
        return f"{wrong} The key or variable that it refers to holds something else: correct that."
    found = f"the text {value[:MOST]!r}" if isinstance(value, str) else FOUND.get(type(value), type(value).__name__)
    return f"{wrong} That is {found}. {_way_out(key, value, hint)}"


def words_of(hint: Any) -> str:
    """An annotation in words."""
    kinds = [_words(member) for member in members_of(hint)]
    return " or ".join(dict.fromkeys(kinds))


def _words(kind: Any) -> str:
    origin = get_origin(kind) or kind
    if kind in KINDS:
        return KINDS[kind]
    if origin is Literal:
        return " or ".join(str(choice) for choice in get_args(kind))
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return "a mapping ({name: value})"
    if inspect.isclass(origin) and issubclass(origin, PurePath):
        return "a path"
    if inspect.isclass(origin) and issubclass(origin, Sequence | set | frozenset):
        return "a list"
    return f"an object of {origin.__name__}, a config of its own with _target_" if inspect.isclass(origin) else str(kind)


def members_of(hint: Any) -> tuple[Any, ...]:
    """The members of a union; any other annotation is its own only member."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _way_out(key: str, value: Any, hint: Any) -> str:
    """What to type instead. A key inside of a list is typed as the whole list."""
    members, where = members_of(hint), "on the command line or in the config file that sets it."
    if "[" in key:
        return f"Write the whole list, {key.split('[')[0]}=[...], {where}"
    if str in members and isinstance(value, list):
        return f"Brackets need quotes inside those of the shell: \"{key}='[{','.join(map(str, value))}]'\", {where}"
    if str in members and type(value) in (int, float, bool) and not {int, float} & set(members):
        return f"A text that looks like that needs quotes inside those of the shell: \"{key}='{json.dumps(value)}'\", {where}"
    example = _example(value, members)
    if example is None:
        return f"It is chosen by its file; single settings of it are {key}.NAME=VALUE."
    return f"Write it as {key}={example}, {where}"


def _example(value: Any, members: tuple[Any, ...]) -> str | None:
    """The same value in the expected type, where that is possible, else an example."""
    if int in members and isinstance(value, float) and math.isfinite(value):
        return str(int(value) or 1)
    if isinstance(value, str) and bool in members and value.lower() in _YES | _NO:
        return "true" if value.lower() in _YES else "false"
    if isinstance(value, str) and {int, float} & set(members) and (number := _number(value, members)) is not None:
        return number
    if any(get_origin(member) is Literal for member in members):
        return str(get_args(next(member for member in members if get_origin(member) is Literal))[0])
    for member in members:
        origin = get_origin(member) or member
        if inspect.isclass(origin) and issubclass(origin, Mapping):
            return "{NAME:VALUE}"
        if inspect.isclass(origin) and issubclass(origin, Sequence) and origin is not str:
            return f"[{value}]" if isinstance(value, str | int | float) and not isinstance(value, bool) else "[...]"
    return next((EXAMPLES[member] for member in members if member in EXAMPLES), None)


_YES, _NO = frozenset({"yes", "y", "on", "true", "1"}), frozenset({"no", "n", "off", "false", "0"})


def _number(text: str, members: tuple[Any, ...]) -> str | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if float not in members:
        return str(int(number)) if number.is_integer() else None
    return repr(number)
