"""The resolvers that configs use, and the names of a study that was given none and of a variant, fit for a folder."""

import hashlib
import netrc
import os
import re
import time
from collections.abc import Sequence

from omegaconf import OmegaConf

from vlm_rl.arm_hash import OF_SERVERS
from vlm_rl.commands.own_gpus import own_gpus
from vlm_rl.commands.storable import as_written, environment

STUDY_VARIABLE = "VLM_RL_STUDY"
TIME_IS_INHERITED = STUDY_VARIABLE in os.environ  # from who started this process, which then shares the name of the study
MAX_LENGTH = 80
NO_CHOICE = ("seed", "seeds", "num_threads", "study", "job", "dry_run")  # which run of it, not what it is
WHERE_IT_RUNS = (  # a study may move on
    *("trainer.devices", "trainer.num_nodes", "trainer.accelerator", "trainer.strategy"),
    *(f"rollout.engine.{name}" for name in OF_SERVERS),
)
NOT_PART_OF_IT = (*NO_CHOICE, "logger", "alerts", "completion_tables", "pictures", "selection", "preflight", "ranks")


def register() -> None:
    """Before any config is composed. The time is taken once and inherited by the jobs of a sweep."""
    os.environ.setdefault(STUDY_VARIABLE, time.strftime("%Y-%m-%d_%H-%M-%S"))
    OmegaConf.register_new_resolver("variant", lambda overrides: variant(as_written(overrides)), replace=True)
    OmegaConf.register_new_resolver("minibatches", minibatches, replace=True)
    OmegaConf.register_new_resolver("wandb_offline", wandb_is_offline, replace=True)
    OmegaConf.register_new_resolver("own_gpus", own_gpus, replace=True)
    OmegaConf.register_new_resolver("oc.env", environment, replace=True)  # OmegaConf's, which also notes what was asked for


def is_named(study: str) -> bool:
    """Whether the user named the study; only then can the run be resumed."""
    return study != os.environ.get(STUDY_VARIABLE)


def minibatches(batch_size: int, ppo_batch_size: int | None) -> int:
    """Optimizer steps that share a batch; sizes that do not divide are an error that names the nearest ones."""
    if ppo_batch_size is None:
        raise ValueError(
            "dataset.ppo_batch_size=null. Set it, or the optimizer steps themselves, as algorithm.num_minibatches=1."
        )
    if ppo_batch_size > 0 and batch_size % ppo_batch_size == 0:
        return batch_size // ppo_batch_size
    divisors = [size for size in range(1, batch_size + 1) if batch_size % size == 0]
    nearest = sorted(sorted(divisors, key=lambda size: abs(size - ppo_batch_size))[:2])
    raise ValueError(
        f"ppo_batch_size={ppo_batch_size} does not divide dataset.batch_size={batch_size}. "
        f"The nearest that do: {', '.join(map(str, nearest))}. "
        f"(Or set the optimizer steps themselves, as algorithm.num_minibatches={batch_size // nearest[-1]}.)"
    )


def wandb_is_offline() -> bool:
    """True without an account: neither WANDB_API_KEY nor a line of ~/.netrc for W&B."""
    if "WANDB_API_KEY" in os.environ:
        return False
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is None
    except (FileNotFoundError, netrc.NetrcParseError):
        return True


def variant(overrides: Sequence[str]) -> str:
    """`algorithm-grpo,lr-1e-5` from ['algorithm=grpo', 'lr=1e-5', 'seed=3']; `default` if nothing differs."""
    own = [o for o in overrides if not says_where(o)]
    parts = [o for o in own if _key(o).split(".")[0] not in ("hydra", *NOT_PART_OF_IT)]
    name = re.sub(r"[^A-Za-z0-9.,_-]", "-", ",".join(parts))
    if len(name) > MAX_LENGTH:
        name = f"{name[:MAX_LENGTH]}-{hashlib.sha256(','.join(parts).encode()).hexdigest()[:8]}"
    return name or "default"


def says_where(override: str) -> bool:
    """Whether an override only names the machine (devices, nodes, accelerator or strategy) or the sampling servers."""
    return any(f"{_key(override)}.".startswith(f"{where}.") for where in WHERE_IT_RUNS)


def _key(override: str) -> str:
    return re.split(r"[=@]", override.lstrip("+~"))[0].replace("/", ".")
