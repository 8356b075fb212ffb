"""What an evaluation may take from the disk: only what this model answered to these questions, judged by this judge."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from vlm_rl.models.loading import resolve
from vlm_rl.rewards.judge import JUDGE_VERSION
from vlm_rl.run_folder import RunFolder

MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt")  # weights, configs, tokenizer, chat template


def files_of(model: str, *, weights: Path | None) -> dict[str, str]:
    """Name -> hash of the content of each file that makes the model; none for a name on the hub, which is not looked up.

    Content and not times: a folder that was copied to another machine holds the same model.
    """
    folders = {"model": Path(resolve(model)), "checkpoint": weights}
    return {
        f"{name}/{file.name}": _hash(file)
        for name, folder in folders.items()
        if folder is not None and folder.is_dir()
        for pattern in MODEL_FILES
        for file in sorted(folder.glob(pattern))
    }


def check_answers(folder: RunFolder, *, manifest: dict[str, Any], splits: Sequence[str]) -> None:
    """Refuses a folder whose answers are not those that would be given now; `manifest` is the new one."""
    files = sorted(folder.path.rglob("*.parquet"))  # whole evaluations and parts
    reasons = [*_differences(folder.manifest or {}, manifest=manifest, splits=splits), *_other_judges(files)] if files else []
    if reasons:
        raise ValueError(
            f"{folder.path} holds answers that do not belong to this evaluation: {'; '.join(reasons)}. "
            "Move or remove that folder, and the same command evaluates anew."
        )


def _differences(before: dict[str, Any], *, manifest: dict[str, Any], splits: Sequence[str]) -> Iterator[str]:
    """What was not yet written down by the version that evaluated is taken to be the same."""
    known, now = before.get("model_files", manifest["model_files"]), manifest["model_files"]
    changed = sorted(name for name in known.keys() | now.keys() if known.get(name) != now.get(name))
    if changed:
        yield f"the model has changed since ({', '.join(changed)})"
    data = before.get("data", manifest["data"])
    if others := [split for split in splits if data.get(split) != manifest["data"].get(split)]:
        yield f"the rows of {', '.join(others)} have changed since"


def _other_judges(files: Sequence[Path]) -> Iterator[str]:
    versions = {version for file in files for version in pq.read_table(file, columns=["judge_version"])[0].unique().to_pylist()}
    if others := sorted(str(version) for version in versions - {JUDGE_VERSION}):
        yield (
            f"they were judged by {', '.join(others)}, and this is {JUDGE_VERSION} "
            "(report.py report.judge=current judges stored answers again)"
        )


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]
