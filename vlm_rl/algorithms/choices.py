"""Settings that are one of a few words: the annotation `Literal[...]` lists them, and one check reads it."""

from typing import Literal, get_args, get_origin, get_type_hints


def check_choices(settings: object, *, key: str) -> None:
    """Raises ValueError naming the key and its choices where a field annotated as a Literal holds another word."""
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name, None)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ValueError(f"{key}.{name} is {value!r}; it is one of {', '.join(get_args(hint))}.")
