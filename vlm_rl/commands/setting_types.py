"""Check each setting against the annotation of the argument that takes it, before anything is built.

pydantic decides, strictly and by the rules of JSON: an integer is a number, a list is a tuple, a text is a path; `true` is no integer,
and a number in quotes is none. Classes of a team are checked too; an argument without annotation takes anything.
"""

import functools
import inspect
import json
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, PlainValidator, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from vlm_rl.commands.type_words import members_of, wrong_type

Hint = Any  # a type, a union, a generic alias
CHECKS = ConfigDict(strict=True, arbitrary_types_allowed=True)
OWN: dict[str, Hint] = {  # keys that commands read themselves; `seed` has a check of its own
    "study": str | int | float,
    "num_threads": int | None,
    "tf32": bool,
    "dry_run": Literal["rollouts"] | None,
    "selection": str | None,
    "max_skipped_updates": int,
    "preflight.run": bool,
    "preflight.decode": str,
    "preflight.device_memory": str | int | None,
    "preflight.cache": str | None,
    "ranks.collective_minutes": float,
    "parity.every": int,
    "parity.tolerance": float,
    "pictures.max_side": int | None,
    "completion_tables.rows": int,
    "completion_tables.every": int,
    "checkpoint.every": int,
    "checkpoint.keep_newest": int,
    "checkpoint.keep_every": int | None,
    "checkpoint.accept_damage": bool,
    "identity.weights": Literal["fast", "all"],
    "rollout.temperature": float,
    "rollout.top_p": float,
    "evaluation.pass_at_1_samples": int,
}


def check_types(cfg: DictConfig, *, own: Mapping[str, Hint] = OWN, set_later: Sequence[str] = ()) -> None:
    """Raises ValueError for the first value of another type than its key takes; `set_later` are keys whose value is none yet."""
    for key, hint in own.items():
        *above, name = key.split(".")
        node = OmegaConf.select(cfg, ".".join(above)) if above else cfg
        if isinstance(node, DictConfig) and name in node and key not in set_later:
            _check(node, name, hint, key=key)
    for key, node in _built(cfg, ""):
        check_arguments(target_of(node), node, key=key, set_later=set_later)


def check_arguments(
    made: Callable[..., object] | None, node: DictConfig, *, key: str = "", set_later: Sequence[str] = ()
) -> None:
    """The same for the arguments of one class or function."""
    for name, hint in _hints(made).items() if made is not None else ():
        place = f"{key}.{name}".lstrip(".")
        if name in node and place not in set_later:
            _check(node, name, hint, key=place)


def _built(node: Any, key: str) -> Iterator[tuple[str, DictConfig]]:
    """Every config of an object, from the outside in. What an interpolation leads to is seen where it stands."""
    if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
        if "_target_" in node:
            yield key, node
        names: list[Any] = list(node)
    elif isinstance(node, ListConfig) and not node._is_none() and not node._is_missing():
        names = list(range(len(node)))
    else:
        return
    for name in names:
        child = node._get_node(name)
        if not child._is_interpolation():
            yield from _built(child, f"{key}[{name}]" if isinstance(node, ListConfig) else f"{key}.{name}".lstrip("."))


def target_of(node: DictConfig) -> Callable[..., object] | None:
    """The class or function that a config names; None where there is none, which is for `instantiate` to explain."""
    try:
        target = get_object(node._target_)
    except (ImportError, ValueError, OmegaConfBaseException):
        return None
    return target if callable(target) else None


def _hints(made: Callable[..., object]) -> dict[str, Hint]:
    """Of the arguments by name; none where an annotation names what only a type checker imports."""
    try:
        named = {name for name, argument in inspect.signature(made).parameters.items() if argument.kind not in _REST}
    except (ValueError, TypeError):
        return {}
    annotated = made.__init__ if inspect.isclass(made) and not is_dataclass(made) else made
    try:
        hints = get_type_hints(annotated, include_extras=True)
    except Exception:  # an annotation may be any expression
        return {}
    return {name: hint for name, hint in hints.items() if name in named}


_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _check(node: DictConfig, name: str, hint: Hint, *, key: str) -> None:
    try:
        value, check = _plain(node, name), _check_of(hint)
    except TypeError:  # an annotation that has no hash
        return
    if value is _UNKNOWN or check is None:
        return
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):  # an object that Python put there
        return
    try:
        check(text)
    except ValidationError as error:
        path = max((_path(value, found["loc"]) for found in error.errors(include_url=False, include_input=False)), key=len)
        refers = OmegaConf.is_interpolation(node, name)  # perhaps to an environment, whose values are not shown
        raw = node._get_node(name)._value() if refers else functools.reduce(operator.getitem, path, value)  # type: ignore[union-attr]
        raise ValueError(wrong_type(_key(key, path), raw, _inner(hint, path), is_written=refers)) from None


_UNKNOWN = object()


def _plain(node: DictConfig, name: str) -> Any:
    """A value without what is built inside of it; _UNKNOWN where there is none, or what is built stands in its place."""
    try:
        value = "???" if OmegaConf.is_missing(node, name) else node[name]
        if isinstance(value, DictConfig | ListConfig):
            value = OmegaConf.to_container(value, resolve=True)
    except (OmegaConfBaseException, ValueError):  # of a resolver; `instantiate` explains it
        return _UNKNOWN
    return _UNKNOWN if _is_left_out(value) else _data(value)


def _data(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _data(item) for key, item in value.items() if not _is_left_out(item)}
    return [_data(item) for item in value if not _is_left_out(item)] if isinstance(value, list) else value


def _is_left_out(value: Any) -> bool:
    return value == "???" or (isinstance(value, dict) and "_target_" in value)


def _refuse(value: object) -> object:
    raise ValueError(value)


_CONTAINERS: dict[Hint, Hint] = {DictConfig: dict, ListConfig: list}
_OBJECT = Annotated[object, PlainValidator(_refuse)]  # pydantic would build a dataclass itself, where Hydra builds none


def _of_data(hint: Hint) -> Hint:
    """The same with dataclasses as what no data is, and OmegaConf's containers as what they hold."""
    if hint in _CONTAINERS:
        return _CONTAINERS[hint]
    if inspect.isclass(hint) and is_dataclass(hint):
        return _OBJECT
    origin, arguments = get_origin(hint), get_args(hint)
    if (members := members_of(hint)) != (hint,):
        return Union[tuple(_of_data(member) for member in members)]  # noqa: UP007 - made, not written
    if inspect.isclass(origin) and issubclass(origin, Mapping | Sequence) and arguments:
        return origin[tuple(argument if argument is ... else _of_data(argument) for argument in arguments)]
    return hint


@functools.cache
def _check_of(hint: Hint) -> Callable[[str], object] | None:
    """What raises ValidationError for a JSON text of another type; None where pydantic cannot tell, as of some protocols."""
    try:
        return TypeAdapter(_of_data(hint), config=CHECKS).validate_json
    except (PydanticUserError, PydanticUndefinedAnnotation, NameError, TypeError, AttributeError, RecursionError):
        return None


def _path(value: Any, location: Sequence[int | str]) -> tuple[int | str, ...]:
    """Keys and indices from the value to the error; pydantic's location also names members of unions."""
    path: list[int | str] = []
    for step in location:
        if (isinstance(value, dict) and step in value) or (isinstance(value, list) and isinstance(step, int)):
            path.append(step)
            value = value[step]  # type: ignore[index]
    return tuple(path)


def _key(key: str, path: Sequence[int | str]) -> str:
    return key + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _inner(hint: Hint, path: Sequence[int | str]) -> Hint:
    """What the annotation says of the items on the way."""
    for step in path:
        kind = Mapping if isinstance(step, str) else Sequence
        inside = [
            m for m in members_of(hint) if inspect.isclass(get_origin(m)) and issubclass(get_origin(m), kind) and get_args(m)
        ]
        if not inside:
            return object
        arguments = [argument for argument in get_args(inside[0]) if argument is not ...]
        hint = arguments[step] if isinstance(step, int) and step < len(arguments) > 1 else arguments[-1]
    return hint
