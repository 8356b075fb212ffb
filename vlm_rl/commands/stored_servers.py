"""To whom a stored run may send questions, pictures and a key: to nobody that was not typed on this command line."""

import re
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vlm_rl.commands.composing import composed

NAMES = ("servers", "exchange", "api_key_variable")
OF_ENGINES = re.compile(r"rollout\.(evaluation_)?engine\.\w+=")


def check_servers(cfg: DictConfig, *, file: Path, words: Sequence[str]) -> None:
    """Raise ValueError where the config that was composed from the run in `file` names servers, the variable that holds their key or
    the folder for adapters, and they are neither the usual ones nor in the `words` of this command line."""
    engines = {name: cfg.rollout[name] for name in ("engine", "evaluation_engine") if "servers" in cfg.rollout[name]}
    if not engines:
        return
    known = composed(["rollout=vllm", *(word for word in words if OF_ENGINES.match(word))]).rollout
    for engine, settings in engines.items():
        for name in NAMES:
            if _plain(settings.get(name)) not in [_plain(usual[name]) for usual in (known.engine, known.evaluation_engine)]:
                raise ValueError(
                    f"{file}: the config of this run has rollout.{engine}.{name}={settings.get(name)}, and no stored run decides to whom "
                    f"questions and keys are sent. If it is right, type it: 'rollout.engine.{name}=...'. (docs/security.md)"
                )


def _plain(value: object) -> object:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
