"""Manifests of runs as they begin, and files of a model that were changed since."""

import copy
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from vlm_rl.datasets.dataset import SPLITS
from vlm_rl.run_folder import RunFolder

NOW: dict[str, Any] = {
    "study": "s",
    "variant": "grpo",
    "seed": 0,
    "arm": "a" * 16,
    "algorithm": "grpo",
    "role": "trained",
    "vanilla": "vanilla-12345678",
    "config": {"checkpoint": {"every": 10}, "trainer": {"devices": 1}},
    "overrides": ["algorithm=grpo"],
    "config_name": "train",
    "searchpath": [],
    "command": "python train.py algorithm=grpo",
    "git": {"commit": "c0ffee", "diff": None},
    "versions": {"torch": "2.8", "numpy": "2.2"},
    "machine": "Linux x86_64, 2 CPU cores, no GPU",
    "threads": {"torch": 2},
    "data": dict.fromkeys(SPLITS, "dd"),
    "rows": {"hash": dict.fromkeys(SPLITS, "ee"), "count": dict.fromkeys(SPLITS, 8)},
    "weights": {
        "commit": None,
        "files": {"model.safetensors": {"bytes": 9, "sample": "ff"}, "config.json": {"bytes": 2, "all": "gg"}},
    },
    "code": {"vlm_rl": "11", "vlm_rl.rewards.reward.Reward": "22", "own.Term": "33"},
    "judge_version": "7",
    "wandb_id": "abcd",
    "status": "running",
    "picked_step": None,
    "history": [{"time": "2026-01-01T00:00:00+00:00", "host": "a", "generation_steps": 0, "changed": {}}],
}


def with_value(manifest: dict[str, Any], keys: str, value: Any) -> dict[str, Any]:
    """A copy in which `a/b` is another value."""
    made = copy.deepcopy(manifest)
    *path, last = keys.split("/")
    place = made
    for key in path:
        place = place[key]
    place[last] = value
    return made


def begun(path: Path, manifest: dict[str, Any] = NOW) -> RunFolder:
    """A run folder that holds a manifest and nothing else."""
    folder = RunFolder(path=path)
    folder.write_manifest(manifest)
    return folder


def change_a_weight(folder: Path) -> None:
    """One tensor a millionth away; header and size of the file stay."""
    file = folder / "model.safetensors"
    before, weights = file.read_bytes(), load_file(file)
    name = sorted(weights)[7]
    weights[name] = weights[name] + 1e-6
    save_file(weights, file, metadata={"format": "pt"})
    after = file.read_bytes()
    length = 8 + int.from_bytes(before[:8], "little")
    assert len(after) == len(before) and after[:length] == before[:length] and after != before
