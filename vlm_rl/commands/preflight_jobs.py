"""Which runs a line with `preflight=true` stands for, without Hydra's launcher: of a sweep, each setting but the seed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from vlm_rl.commands import resolvers, searchpath
from vlm_rl.commands.composing import composed
from vlm_rl.commands.paths import CONF_DIR

YES = re.compile(r"preflight\.run=(true|yes|on|1)", re.IGNORECASE)
HYDRA_ANSWERS = {"cfg", "info", "help", "hydra_help", "shell_completion"}  # flags that only show something


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run, composed."""

    overrides: list[str]
    cfg: DictConfig


def spelled_out(words: Sequence[str]) -> list[str]:
    """`preflight=true` as the key that it is short for."""
    return [re.sub(r"^preflight=", "preflight.run=", word) for word in words]


def is_asked(words: Sequence[str]) -> bool:
    """Whether this command line is a preflight, and no question to Hydra itself."""
    if not any(YES.fullmatch(word) for word in words):
        return False
    arguments = vars(get_args_parser().parse_args(list(words)))
    return not any(arguments.get(flag) for flag in HYDRA_ANSWERS)


def jobs(words: Sequence[str]) -> list[Job]:
    """Every setting of a sweep, with the first of its seeds."""
    arguments = get_args_parser().parse_args(list(words))
    name, beside = arguments.config_name or "train", searchpath.typed(words)
    own = [word for word in arguments.overrides if not word.startswith(searchpath.KEY)]
    settings = _swept(own, name=name, beside=beside, multirun=arguments.multirun)
    first = {tuple(word for word in setting if not word.startswith("seed=")): setting for setting in reversed(settings)}
    return [
        Job(overrides=setting, cfg=composed(setting, config_name=name, searchpath=beside))
        for setting in reversed(first.values())
    ]


def _swept(overrides: list[str], *, name: str, beside: Sequence[str], multirun: bool) -> list[list[str]]:
    """As Hydra's own sweeper has it: its parameters in the config, then the command line."""
    resolvers.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(CONF_DIR, version_base="1.3"):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        parsed = parser.parse_overrides(overrides)
        fixed = [override.input_line or "" for override in parsed if not override.is_sweep_override()]
        hydra = compose(name, overrides=[*searchpath.as_overrides(beside), *fixed], return_hydra_config=True).hydra
        if not multirun and hydra.mode != RunMode.MULTIRUN:
            return [overrides]
        swept = [f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()]
        settings: list[list[str]] = BasicSweeper.split_arguments(parser.parse_overrides([*swept, *overrides]), None)[0]
    return settings
