"""The manifest of a run, written before it starts: what is needed to find, compare and repeat it."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from vlm_rl.arm_hash import PLAN, arm_of, comparable, vanilla_of
from vlm_rl.commands import searchpath, trust
from vlm_rl.commands.build import Experiment, plain
from vlm_rl.commands.errors import TYPED, as_typed, flat
from vlm_rl.commands.identity import code_identity, rows_identity, start
from vlm_rl.commands.storable import asks_environment, storable
from vlm_rl.datasets.dataset import SPLITS
from vlm_rl.models.parts import sizes
from vlm_rl.models.weights_identity import weights_identity
from vlm_rl.reports.reading.roles import UNTRAINED, role_of
from vlm_rl.rewards.judge import JUDGE_VERSION
from vlm_rl.run_folder import RunFolder

PACKAGES = (
    "vlm-rl",
    "torch",
    "torchvision",
    "transformers",
    "peft",
    "lightning",
    "hydra-core",
    "math-verify",
    "numpy",
    "pyarrow",
    "pillow",
    "datasets",
)
FORMAT = 1


def manifest(
    experiment: Experiment, *, run: Path, algorithm: str, overrides: Sequence[str], config_name: str
) -> dict[str, Any]:
    """The manifest of a run that is about to begin in the folder `run`. It reads all rows and pictures, and the files of the base
    model: only the first rank needs it."""
    config = plain(experiment.cfg)
    rows = {split: rows_identity(experiment.dataset.split(split)) for split in SPLITS}
    return {
        "format": FORMAT,
        "study": config["study"],
        "variant": run.parent.name,
        "seed": config["seed"],
        "arm": arm_of(config),
        "algorithm": algorithm,
        "role": experiment.algorithm.role,
        "config": storable(experiment.cfg),
        "overrides": list(overrides),  # evaluate.py composes the run again from them,
        "config_name": config_name,  # of this config,
        "searchpath": searchpath.remembered(searchpath.in_use(), run=run),  # with what lies here besides ours
        "command": command(),
        "git": git(),
        "versions": versions(),
        "machine": machine(),
        "threads": {"torch": torch.get_num_threads()},
        "data": {split: of_split["content"] for split, of_split in rows.items()},
        "rows": {part: {split: of_split[part] for split, of_split in rows.items()} for part in ("hash", "count")},
        "weights": _weights(config),
        "adapters": [row.coverage.entry for row in sizes(experiment.policy.vlm) if row.coverage is not None],  # what they reach
        "code": code_identity(config),
        "selection": {split: part.hash for split in SPLITS if (part := experiment.dataset.selection(split))},
        "wandb_id": None,
        "status": "running",
        "picked_step": None,
        "judge_version": JUDGE_VERSION,
        "vanilla": vanilla_of(config),
        "history": [start(generation_steps=0, changed={})],
    }


def _weights(config: dict[str, Any]) -> dict[str, Any]:
    model = config["model"]
    return weights_identity(
        model["name"],
        subfolder=model["processor"].get("subfolder", ""),
        is_untrained=model["untrained"],
        reads_all=config["identity"]["weights"] == "all",
    )


def command() -> str:
    """The command line as the user typed it, quoted so that it can be typed again; the same in every process."""
    return os.environ.get(TYPED) or as_typed()


def git() -> dict[str, str | None]:
    """Commit and hash of the uncommitted difference, None outside a repository."""

    def ask(*arguments: str) -> str | None:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else None

    commit, diff = ask("rev-parse", "HEAD"), ask("diff", "HEAD")
    return {
        "commit": commit.strip() if commit else None,
        "diff": hashlib.sha256(diff.encode()).hexdigest()[:16] if diff else None,
    }


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Installed versions, Python's among them."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """In words: processor, cores, accelerators."""
    cores = torch.multiprocessing.cpu_count()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{platform.system()} {platform.machine()}, {cores} CPU cores, " + (", ".join(gpus) if gpus else "no GPU")


def check_stored_run(found: dict[str, Any], cfg: DictConfig, folder: RunFolder) -> None:
    """Raise ValueError where the manifest of a folder is that of something else, or of another config."""
    file = folder.path / "manifest.json"
    try:
        role = role_of(found)
    except ValueError as error:
        raise ValueError(f"{file}: {error}. {trust.NOT_OURS}") from None
    if role in UNTRAINED:
        raise ValueError(
            f"{file} is not that of a run that trains, but of role {role}. Put its own back, or remove that folder."
        )
    try:
        check_same_config(found, cfg, folder)
    except ValueError as error:
        raise ValueError("\n".join(filter(None, (str(error), folder.changed_manifest())))) from None


def check_same_config(found: dict[str, Any], cfg: DictConfig, folder: RunFolder) -> None:
    """Raises ValueError naming the keys where a folder holds a run with another config: only its own command continues it."""
    file, config = folder.path / "manifest.json", storable(cfg)
    stored = trust.stored_config(found, file=file, parts=("trainer", "algorithm"))
    before, now = flat(comparable(stored)), flat(comparable(config))
    not_declared = {f"evaluation.scheme.endpoint.{part}" for part in PLAN} - before.keys()  # by a version without such a plan
    keys = sorted((before.keys() | now.keys()) - not_declared)
    differing = [key for key in keys if before.get(key) != now.get(key)]
    lines = [f"  {key}: {before.get(key)!r} there, {now.get(key)!r} here" for key in differing[:10]]
    if not differing and asks_environment(config) and found.get("arm") != arm_of(plain(cfg)):
        lines = ["  an environment variable that the config takes a value from has another value than then"]
    if lines:
        shown = "\n".join(lines)
        raise ValueError(
            f"{folder.path} holds a run with another config:\n{shown}\nGive this one another study=NAME, or remove that folder."
        )
    trust.check_config(stored, file=file, trusted=(), typed=trust.targets_of(config))
