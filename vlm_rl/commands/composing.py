"""A config as a command line would compose it, outside of Hydra's launcher. Imports no torch: a typo is answered before that is loaded."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from vlm_rl.commands import resolvers
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.searchpath import as_overrides


def composed(overrides: list[str], *, config_name: str = "train", searchpath: Sequence[str] = ()) -> DictConfig:
    """The config that a command line with these overrides would run with, outside of Hydra's launcher.

    `searchpath`: where else configs lie, as searchpath.py has it.
    """
    resolvers.register()
    around = GlobalHydra.instance().hydra  # inside of a Hydra main function, as in evaluate.py, there is one already
    GlobalHydra.instance().clear()
    try:
        if not searchpath:
            with initialize_config_dir(CONF_DIR, version_base="1.3"):
                return compose(config_name, overrides=overrides)
        # Hydra looks for the main config before it has read hydra.searchpath, and a team may have its own: one of ours leads to it.
        with TemporaryDirectory() as folder, initialize_config_dir(folder, version_base="1.3"):
            Path(folder, "main.yaml").write_text(f"defaults:\n  - {config_name}\n  - _self_\n")
            return compose("main", overrides=[*as_overrides([f"file://{CONF_DIR}", *searchpath]), *overrides])
    finally:
        if around is not None:
            GlobalHydra.instance().initialize(around)
