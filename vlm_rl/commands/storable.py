"""The config as it is stored: resolved, except values of environment variables, which may be keys or passwords."""

import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf

SHOWN = frozenset({"VLM_RL_STUDY", "VLM_RL_CACHE", "XDG_CACHE_HOME", "HOME"})  # variables whose values are no secret
_NO_DEFAULT = object()
_reads: ContextVar[list[str] | None] = ContextVar("reads", default=None)  # variables, while one value is resolved


def environment(name: str, default: Any = _NO_DEFAULT) -> str | None:
    """OmegaConf's own `oc.env`, which also records which variable was read. Raises KeyError for one that is not set."""
    reads = _reads.get()
    if reads is not None:
        reads.append(name)
    if name in os.environ:
        return os.environ[name]
    if default is _NO_DEFAULT:
        raise KeyError(f"Environment variable '{name}' not found")
    return None if default is None else str(default)


def storable(cfg: DictConfig) -> dict[str, Any]:
    """The config with every interpolation resolved; a value that an environment variable has a part in stays as it was written.

    `${oc.env:KEY}` then stands in the file, and whoever reads the config again takes the value of their own environment.
    """
    kept: dict[str, Any] = _of(cfg)
    return kept


def overrides_as_written() -> list[str]:
    """The overrides of the running job. Hydra's own list resolves `${oc.env:KEY}` where it is read."""
    return as_written(HydraConfig.get().overrides.task)


def as_written(overrides: Sequence[str]) -> list[str]:
    """Overrides with their interpolations as they were written."""
    if not isinstance(overrides, ListConfig):
        return list(overrides)
    written: list[str] = OmegaConf.to_container(overrides, resolve=False)  # type: ignore[assignment]
    return written


def asks_environment(config: dict[str, Any]) -> bool:
    """Whether a stored config has values that only the environment knows."""
    return any("${" in text for text in _texts(config))


def restored(config: dict[str, Any], part: str) -> dict[str, Any]:
    """A part of a stored config, with what this environment says where the file leaves it open."""
    if not asks_environment(config[part]):
        return dict(config[part])
    whole: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(config)[part], resolve=True)  # type: ignore[assignment]
    return whole


def _of(node: Any) -> Any:
    if isinstance(node, DictConfig):
        return None if node._is_none() else {key: _child(node, key) for key in node}
    if isinstance(node, ListConfig):
        return None if node._is_none() else [_child(node, place) for place in range(len(node))]
    return node


def _child(parent: Any, key: Any) -> Any:
    written = parent._get_node(key)
    variables: list[str] = []
    token = _reads.set(variables)
    try:
        value = parent[key] if not OmegaConf.is_missing(parent, key) else "???"
    finally:
        _reads.reset(token)
    if set(variables) - SHOWN:
        return written._value()
    return _of(value)


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield node
