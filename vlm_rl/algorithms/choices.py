"""Settings that are one of a few words: the annotation `Literal[...]` lists them, and one check reads it."""

import inspect
from typing import Any, Literal, get_args, get_origin


def check_choices(settings: object, *, key: str) -> None:
    """Raise ValueError naming the key and its choices where a field annotated as a Literal holds another word."""
    hints: dict[str, Any] = {}
    for kind in reversed(inspect.getmro(type(settings))):
        hints |= _own_hints(kind)
    for name, hint in hints.items():
        value = getattr(settings, name, None)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ValueError(f"{key}.{name} is {value!r}; it is one of {', '.join(map(str, get_args(hint)))}.")


def _own_hints(kind: type) -> dict[str, Any]:
    """The annotations of the class itself; all None if one of them cannot be evaluated, as a name that only type checkers import."""
    try:
        return inspect.get_annotations(kind, eval_str=True)
    except Exception:  # an annotation may be any expression
        return dict.fromkeys(inspect.get_annotations(kind))
