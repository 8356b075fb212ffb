"""Which code a stored config may name: classes of vlm-rl, and packages that this command line trusts by name.

A run folder may come from anybody. Its manifest is data: what it says is composed and built only after it has passed here, and
nothing that it names is imported before. What a person types, and the configs that a typed word leads to, are theirs, as code is.
"""

import ast
import importlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.searchpath import FOLDER, PACKAGE
from vlm_rl.commands.stored_servers import check_servers
from vlm_rl.reports.reading.roles import role_of

KEY = "trust="
ROOT = Path(__file__).parents[1]  # of our package
BUILT_FROM = ("algorithms", "datasets", "evaluation", "models", "rewards", "rollout")  # configs build their classes
NOT_SHIPPED_BUT_HARMLESS = frozenset({"entity", "notes", "version", "log_model"})  # further settings of a logger
TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
NAMED_IN_WORD = re.compile(r"""_target_['"]?\s*[=:]\s*['"]?([^'",}\s]*)""")
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
NOT_OURS = "It was not written by vlm-rl, or was damaged since: ask for a whole copy of that run."
PATH_LIKE = ("save_dir", "name", "project", "version")  # what loggers make paths of


def taken_out(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The arguments without `trust=[PACKAGE,...]`, and the packages; it is part of no config and of no run."""
    words = [word for word in arguments if word.lstrip("+").startswith(KEY)]
    others = [word for word in arguments if word not in words]
    texts = [word.lstrip("+").removeprefix(KEY).strip().strip("[]") for word in words]
    names = [name.strip().strip("'\"") for text in texts for name in text.split(",") if name.strip()]
    if wrong := [name for name in names if not NAME.fullmatch(name)]:
        raise ValueError(f"trust: {wrong[0]!r} is no name of a package. Name packages, as in trust=[team_overlay].")
    return others, tuple(dict.fromkeys(names))


def as_words(trusted: Sequence[str]) -> tuple[str, ...]:
    """The same as a word of a command line, for the other processes of this command."""
    return (f"{KEY}[{','.join(trusted)}]",) if trusted else ()


def check_manifest(manifest: Mapping[str, Any], *, file: Path, trusted: Sequence[str]) -> None:
    """Raises ValueError unless all that a manifest names may be composed; nothing is composed or imported here."""
    if missing := [key for key in ("algorithm", "overrides", "status") if key not in manifest]:
        raise ValueError(f"{file} has no `{missing[0]}`. {NOT_OURS}")
    overrides, name = manifest["overrides"], manifest.get("config_name", "train")
    if not isinstance(overrides, list) or not all(isinstance(word, str) for word in overrides):
        raise ValueError(f"{file}: `overrides` is no list of texts. {NOT_OURS}")
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]+(/[\w-]+)*", name):
        raise ValueError(f"{file}: `config_name` is {name!r}, which is no name of a config. A run's own is mostly train.")
    if not isinstance(manifest.get("picked_step"), int | None):
        raise ValueError(f"{file}: `picked_step` is no number of a step. {NOT_OURS}")
    try:
        role_of(manifest)
    except ValueError as error:
        raise ValueError(f"{file}: {error}. {NOT_OURS}") from None
    for word in overrides:
        if (why := _leads_elsewhere(word)) is not None:
            raise ValueError(
                f"{file}: the override {word!r} of the stored run {why}. Nothing of it was read. Take it out of `overrides` there, "
                "and type it yourself if you know that it is right."
            )
    named = [{"_target_": target} for word in overrides for target in NAMED_IN_WORD.findall(word)]
    check_config(stored_config(manifest, file=file) | {"overrides": named}, file=file, trusted=trusted)


def stored_config(manifest: Mapping[str, Any], *, file: Path, parts: Sequence[str] = ()) -> dict[str, Any]:
    """The config of a manifest; {} where it has none. Raises ValueError where it is no config, or lacks one of the `parts`."""
    config = manifest.get("config", {})
    if not isinstance(config, dict) or not all(isinstance(config.get(part), dict) for part in parts):
        raise ValueError(f"{file}: `config` is no config of a run. {NOT_OURS}")
    return config


def targets_of(config: object) -> tuple[str, ...]:
    """Every `_target_` of a config."""
    return tuple(str(target) for _, target, _ in _targets(config))


def check_config(
    config: object, *, file: Path, trusted: Sequence[str], typed: Sequence[str] = (), is_built: bool = False
) -> None:
    """Raises ValueError naming each `_target_` that is neither ours nor trusted nor among those that were `typed` now.

    What is to be built (`is_built`) may also not give a class of another package settings that our configs do not give it.
    """
    refused = {
        key: target
        for key, target, node in _targets(config)
        if not _is_allowed(target, trusted=trusted, typed=typed)
        or (is_built and not _is_as_shipped(target, node, known=(*trusted, *typed)))
    }
    if refused:
        lines = "\n".join(f"  {key}: {target!r}" for key, target in list(refused.items())[:10])
        raise ValueError(
            f"{file}: the config of this run names code that vlm-rl does not bring, or settings that it does not have:\n{lines}\n"
            f"Nothing of it was imported or run. {_way_out(refused.values())} (docs/security.md)"
        )


def check_composed(cfg: DictConfig, *, file: Path, trusted: Sequence[str], words: Sequence[str]) -> None:
    """The same for what was composed from a stored run and the `words` of this command line, before it is built."""
    typed = [value.strip("'\"") for key, _, value in (word.partition("=") for word in words) if key.endswith("_target_")]
    check_config(OmegaConf.to_container(cfg, resolve=True), file=file, trusted=trusted, typed=typed, is_built=True)
    check_servers(cfg, file=file, words=words)


def check_searchpath(paths: Sequence[str], *, run: Path, file: Path, trusted: Sequence[str]) -> None:
    """Raises ValueError where a run has its configs in a package that is not trusted, or in a folder outside of its own.

    `paths` as searchpath.found gives them. Folders in the working directory, or beside the `outputs` that holds the run, are read.
    """
    for path in paths:
        package = path.removeprefix(PACKAGE)
        if path.startswith(PACKAGE) and NAME.fullmatch(package):
            if package.split(".")[0] != "vlm_rl" and not _is_within(package, trusted):
                raise ValueError(
                    f"{file}: the configs of this run lie in the package {package}, which is not imported unless you trust it by name: "
                    f"trust=[{package.split('.')[0]}]. (docs/security.md)"
                )
        elif not path.startswith(FOLDER) or not path.isprintable() or not _is_own(Path(path.removeprefix(FOLDER)), run=run):
            raise ValueError(
                f"{file}: the configs of this run lie in {path}, outside of your working directory and of the folder that holds the run. "
                f"Nothing there was read. If it is yours, say so on this command line: 'hydra.searchpath=[{path}]'. (docs/security.md)"
            )


def _leads_elsewhere(word: str) -> str | None:
    """Why an override of a stored run is refused: it configures Hydra itself, or chooses a file outside of the configs."""
    key, _, value = word.lstrip("+~").partition("=")
    if re.split(r"[./@]", key.strip())[0].strip("'\"") == "hydra":
        return "speaks to Hydra and not to the run"
    choice = value.strip().strip("'\"")
    if "." not in key.partition("@")[0] and (".." in choice.split("/") or choice.startswith("/")):
        return "chooses a file outside of the configs"
    return None


def _targets(node: object, *, key: str = "") -> Iterator[tuple[str, object, Mapping[Any, Any]]]:
    """(key, `_target_`, the table that it stands in) of a config, at any depth."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield f"{key}._target_".lstrip("."), node["_target_"], node
        for name, value in node.items():
            yield from _targets(value, key=f"{key}.{name}".lstrip("."))
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            yield from _targets(value, key=f"{key}.{place}")


def _is_allowed(target: object, *, trusted: Sequence[str], typed: Sequence[str]) -> bool:
    if not isinstance(target, str) or not TARGET.fullmatch(target):
        return False
    if target in typed:
        return True
    if _is_within(target, trusted):
        return _is_of_its_package(target)
    return target in _shipped() or _is_our_class(target)


def _is_within(name: str, packages: Sequence[str]) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def _is_of_its_package(target: str) -> bool:
    """False for what a trusted module only imports, such as `team.reward.os.system`. What is not there is for Hydra to explain."""
    package, *names = target.split(".")
    try:
        found: Any = importlib.import_module(package)
        for place, name in enumerate(names, start=1):
            path = ".".join([package, *names[:place]])
            found = getattr(found, name) if hasattr(found, name) else importlib.import_module(path)
    except Exception:
        return True
    return str(getattr(found, "__module__", "")).split(".")[0] == target.split(".")[0]


def _is_our_class(target: str) -> bool:
    """Whether it is a class written in that very module of ours; looked up in the text, nothing is imported.

    Neither a function nor what a module imports, such as vlm_rl.run_folder.shutil.rmtree.
    """
    _, _, inside = target.partition("vlm_rl.")
    module, _, name = inside.rpartition(".")
    first, *rest = module.split(".")
    file = ROOT.joinpath(first, *rest).with_suffix(".py")
    above = [ROOT.joinpath(first, *rest[:end]).with_suffix(".py") for end in range(len(rest))]  # folders, no modules
    if not target.startswith("vlm_rl.") or first not in BUILT_FROM or any(place.is_file() for place in above):
        return False
    if not file.is_file():
        return True  # of another version; there is nothing to import
    return any(
        isinstance(part, ast.ClassDef) and part.name == name for part in ast.parse(file.read_text(encoding="utf-8")).body
    )


@cache
def _shipped() -> dict[str, frozenset[str]]:
    """Every `_target_` in our own configs -> the settings that stand beside it there."""
    found: dict[str, frozenset[str]] = {}
    for file in Path(CONF_DIR).rglob("*.yaml"):
        for _, target, node in _targets(OmegaConf.to_container(OmegaConf.load(file), resolve=False)):
            found[str(target)] = found.get(str(target), frozenset()) | {str(key) for key in node}
    return found


def _is_as_shipped(target: object, node: Mapping[Any, Any], *, known: Sequence[str]) -> bool:
    """Whether a class of another package gets only settings that our configs have, and no path outside of the working directory."""
    if not isinstance(target, str) or target.startswith("vlm_rl.") or _is_within(target, known):
        return True
    if not {str(key) for key in node} <= _shipped().get(target, frozenset()) | NOT_SHIPPED_BUT_HARMLESS:
        return False
    place = os.path.join(*(str(node[key]) for key in PATH_LIKE if node.get(key) is not None), "")
    return Path(os.path.abspath(place)).is_relative_to(Path.cwd())


def _is_own(folder: Path, *, run: Path) -> bool:
    """In the working directory, or beside the `outputs` that a run is in."""
    above = next((parent.parent for parent in run.absolute().parents if parent.name == "outputs"), Path.cwd())
    return any(folder.resolve().is_relative_to(place.resolve()) for place in (Path.cwd(), above))


def _way_out(targets: Any) -> str:
    names = [target for target in targets if isinstance(target, str) and TARGET.fullmatch(target)]
    packages = sorted({name.split(".")[0] for name in names} - {"vlm_rl"})
    if not packages or len(names) < len(list(targets)):
        return "Take it out of the manifest's `config` and `overrides`."
    return f"If you know this code and trust it, name its package on this command line: trust=[{','.join(packages)}]."
