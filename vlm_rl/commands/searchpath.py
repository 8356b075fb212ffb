"""Configs of a team beside ours: where a command line finds them, how a run remembers it, and how they are found again.

A run keeps a package as it is, a folder relative to the run's own if it lies in the working directory (both move together), and any
other folder with its whole path. None of it is part of the config, so that no hash depends on where a folder lies.
"""

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from vlm_rl.commands.paths import CONF_DIR

KEY = "hydra.searchpath="
FLAGS = ("--config-dir", "-cd")
FOLDER, PACKAGE = "file://", "pkg://"


def in_use() -> list[str]:
    """What the running command was composed from besides our own configs: `file:///...` or `pkg://...`, in order."""
    sources = HydraConfig.get().runtime.config_sources
    return [
        _absolute(f"{source.schema}://{source.path}")
        for source in sources
        if source.provider == "command-line" or source.provider.startswith("hydra.searchpath")
    ]


def as_words() -> list[str]:
    """The same as words of a command line. Only --config-dir is searched for the config that a command begins with."""
    sources = HydraConfig.get().runtime.config_sources
    folders = [os.path.abspath(source.path) for source in sources if source.provider == "command-line"]
    rest = [path for path in in_use() if path.removeprefix(FOLDER) not in folders]
    return [*(f"--config-dir={folder}" for folder in folders), *as_overrides(rest)]


def typed(arguments: Sequence[str]) -> list[str]:
    """The same from the words of a command line, before Hydra has read them."""
    return [_absolute(path) for path in (*_flagged(arguments), *_listed(arguments))]


def as_overrides(paths: Sequence[str]) -> list[str]:
    """One override for Hydra, or none; a path may hold what its grammar knows as signs."""
    return [f"{KEY}[{','.join(json.dumps(path, ensure_ascii=False) for path in paths)}]"] if paths else []


def with_kept(arguments: Sequence[str], *, kept: Sequence[str]) -> list[str]:
    """A command line that also searches where a run was composed from; what was typed comes first.

    A folder that is not there any more is an error, unless the command line names where the configs are now.
    """
    here = [path for path in kept if _missing(path) is None] if typed(arguments) else kept
    check(here)
    others = [word for word in arguments if not word.startswith(KEY)]
    return [*others, *as_overrides([*_listed(arguments), *here])]


def check(paths: Sequence[str]) -> None:
    """Hydra only warns of a place that is not there, and says nothing of a file there that it never reads."""
    for path in paths:
        if (why := _missing(path)) is not None:
            raise FileNotFoundError(
                f"{why} Say where configs of your own are by 'hydra.searchpath=[file://FOLDER]' or "
                "'hydra.searchpath=[pkg://PACKAGE.FOLDER]' (docs/sharing.md)."
            )
        if shadowed := list(_shadowed(path)):
            raise ValueError(
                f"{path}: {', '.join(shadowed)} would be ignored, as vlm-rl has a config of the same name, which comes first. "
                f"Give it another name, begin it with ours (defaults: [{Path(shadowed[0]).stem}, _self_]), and choose it by the new one."
            )


def remembered(paths: Sequence[str], *, run: Path) -> list[str]:
    """The same as a manifest stores them."""
    here, stored = Path.cwd(), []
    for path in paths:
        folder = Path(path.removeprefix(FOLDER))
        both_here = path.startswith(FOLDER) and folder.is_relative_to(here) and run.absolute().is_relative_to(here)
        stored.append(FOLDER + Path(os.path.relpath(folder, run.absolute())).as_posix() if both_here else path)
    return stored


def found(remembered: Sequence[str], *, run: Path) -> list[str]:
    """Where they are, for a reader of the run's manifest in any working directory."""
    return [
        FOLDER + os.path.normpath(run.absolute() / path.removeprefix(FOLDER)) if path.startswith(FOLDER) else path
        for path in remembered
    ]


def _flagged(arguments: Sequence[str]) -> Iterator[str]:
    """The value of --config-dir, which Hydra takes once."""
    for place, word in enumerate(arguments):
        flag, _, value = word.partition("=")
        if flag in FLAGS:
            yield from [value] if value else arguments[place + 1 : place + 2]


def _listed(arguments: Sequence[str]) -> list[str]:
    """What hydra.searchpath=[...] lists; nothing where it is no list, which Hydra itself says."""
    for word in arguments:
        if word.startswith(KEY):
            value = OverridesParser.create().parse_override(word).value()
            return [str(path) for path in value] if isinstance(value, list) else []
    return []


def _absolute(path: str) -> str:
    return path if "://" in path and not path.startswith(FOLDER) else FOLDER + os.path.abspath(path.removeprefix(FOLDER))


def _missing(path: str) -> str | None:
    """What is not there, in words; None where all is well."""
    if path.startswith(PACKAGE):
        return None if _is_package(path.removeprefix(PACKAGE)) else f"{path}: no such package is installed here."
    folder = path.removeprefix(FOLDER)
    return None if "://" in folder or os.path.isdir(folder) else f"{path}: there is no folder {folder}."


def _shadowed(path: str) -> Iterator[str]:
    """Files there by the name of one of ours, unless they say the same."""
    for ours in sorted(Path(CONF_DIR).rglob("*.yaml")):
        name = ours.relative_to(CONF_DIR)
        for folder in _folders(path):
            if (folder / name).is_file() and (folder / name).read_bytes() != ours.read_bytes():
                yield name.as_posix()


def _folders(path: str) -> list[Path]:
    """Where a place lies on the disk."""
    if not path.startswith(PACKAGE):
        return [Path(path.removeprefix(FOLDER))]
    found = importlib.util.find_spec(path.removeprefix(PACKAGE))
    return [Path(folder) for folder in (found and found.submodule_search_locations) or ()]


def _is_package(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even what it lies in
        return False
