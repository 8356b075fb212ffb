"""Whether a folder's run has the config that is asked for: only then does the same command continue it."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from vlm_rl.commands import errors, trust
from vlm_rl.commands.build import arm_of, comparable, plain
from vlm_rl.commands.storable import asks_environment, storable
from vlm_rl.run_folder import RunFolder


def check_same_config(found: dict[str, Any], cfg: DictConfig, folder: RunFolder) -> None:
    """A folder that holds a run with another config is an error that names the keys."""
    file, config = folder.path / "manifest.json", storable(cfg)
    stored = trust.stored_config(found, file=file, parts=("trainer", "algorithm"))
    before, now = errors.flat(comparable(stored)), errors.flat(comparable(config))
    differing = [key for key in sorted(before.keys() | now.keys()) if _differ(before, now, key)]
    lines = [f"  {key}: {before.get(key)!r} there, {now.get(key)!r} here" for key in differing[:10]]
    if not differing and asks_environment(config) and found.get("arm") != arm_of(plain(cfg)):
        lines = ["  an environment variable that the config takes a value from has another value than then"]
    if lines:
        shown = "\n".join(lines)
        raise ValueError(
            f"{folder.path} holds a run with another config:\n{shown}\nGive this one another study=NAME, or remove that folder."
        )
    trust.check_config(stored, file=file, trusted=(), typed=trust.targets_of(config))


def _differ(before: Mapping[str, Any], now: Mapping[str, Any], key: str) -> bool:
    """A switch that an older version did not have was off."""
    return bool(before.get(key) != now.get(key)) and not (key not in before and now[key] is False)
