"""The name of a variant: the overrides that make it differ, fit for a folder that Hydra can read back."""

import hashlib
import re
from collections.abc import Sequence

MAX_LENGTH = 80
NO_CHOICE = ("seed", "seeds", "num_threads", "study", "job", "dry_run")  # which run of it, not what it is
WHERE_IT_RUNS = ("trainer.devices", "trainer.num_nodes", "trainer.accelerator", "trainer.strategy")  # a study may move on
NOT_PART_OF_IT = (*NO_CHOICE, "logger", "alerts", "completion_tables", "pictures", "selection", "preflight")


def variant(overrides: Sequence[str]) -> str:
    """`algorithm-grpo,lr-1e-5` from ['algorithm=grpo', 'lr=1e-5', 'seed=3']; `default` if nothing differs."""
    parts = [override for override in overrides if _belongs(override)]
    name = re.sub(r"[^A-Za-z0-9.,_-]", "-", ",".join(parts))
    if len(name) > MAX_LENGTH:
        name = f"{name[:MAX_LENGTH]}-{hashlib.sha256(','.join(parts).encode()).hexdigest()[:8]}"
    return name or "default"


def says_where(override: str) -> bool:
    """Whether it says on what a run runs, and nothing of what it is."""
    return any(f"{_key(override)}.".startswith(f"{where}.") for where in WHERE_IT_RUNS)


def _belongs(override: str) -> bool:
    key = _key(override)
    return not says_where(override) and key.split(".")[0] not in ("hydra", *NOT_PART_OF_IT)


def _key(override: str) -> str:
    return re.split(r"[=@]", override.lstrip("+~"))[0].replace("/", ".")
