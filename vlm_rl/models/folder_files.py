"""Checks of the files in a model's folder: each lies in it, is not too large, holds JSON where it should; adapters are as we save them."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peft import LoraConfig

READ = (".json", ".jinja", ".txt", ".model", ".safetensors")
TEMPLATES = "additional_chat_templates"
WEIGHTS = "weights"  # of a checkpoint that no rank had whole
MAX_DEPTH = 64  # of a config
_MEBIBYTE = 2**20
_LARGE = ("tokenizer.json", "vocab.json")
_MAX_BYTES = {".jinja": _MEBIBYTE, ".json": 16 * _MEBIBYTE, ".txt": 256 * _MEBIBYTE, ".model": 256 * _MEBIBYTE}
_OBJECTS = (
    *("config.json", "generation_config.json", "processor_config.json", "preprocessor_config.json"),
    *("video_preprocessor_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    "chat_template.json",
)
ADAPTER_CONFIG = "adapter_config.json"
MAX_RANK = 4096
MAX_CHARS = 100_000  # of a regular expression or a list of layers
_FREE = ("base_model_name_or_path", "revision", "peft_version", "peft_type", "task_type", "inference_mode")
_OWN = ("r", "lora_alpha", "target_modules", "target_parameters", "modules_to_save", "rank_pattern", "alpha_pattern")


def check_files(folder: Path) -> None:
    """Raises ValueError for a link that leads out of the folder, for what is no plain file or too large, and for broken JSON."""
    for file in files_of(folder):
        _check_place(file, folder=folder)
        _check_size(file)
    for name in _OBJECTS:
        if (file := folder / name).exists():
            read_object(file)


def files_of(folder: Path) -> Iterator[Path]:
    """Those that may be read, templates and parts of weights in their own folders included."""
    for place in (folder, folder / TEMPLATES, folder / WEIGHTS):
        if place.is_symlink() and place != folder:
            raise ValueError(f"{place} is a link. Nothing outside of a model's folder is read: put a copy there instead.")
        if place.is_dir():
            yield from sorted(file for file in place.iterdir() if file.suffix in READ)


def _check_place(file: Path, *, folder: Path) -> None:
    """Links of the hub's cache lead to its blobs; all others stay in the folder."""
    if not file.is_symlink():
        return
    whole, target = folder.resolve(), file.resolve()
    allowed = [whole]
    if whole.parent.name == "snapshots":
        allowed.append(whole.parent.parent / "blobs")
    if not any(target.is_relative_to(place) for place in allowed):
        raise ValueError(
            f"{file} is a link to {target}, out of the model's folder. Nothing outside of it is read: put a copy there instead."
        )
    if not target.exists():
        raise FileNotFoundError(f"{file} is a link to {target}, which is not there. Copy or download that file again.")


def _check_size(file: Path) -> None:
    about = file.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError(f"{file} is no plain file. Copy or download the model again.")
    large = file.name in _LARGE or file.name.endswith(".index.json")
    most = 256 * _MEBIBYTE if large else _MAX_BYTES.get(file.suffix)
    if most is not None and about.st_size > most:
        raise ValueError(
            f"{file} has {about.st_size} bytes, where {most} are allowed: no such file of a model is so large. "
            "Correct that file, or take another model."
        )


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; raises ValueError that names it where there is none."""
    way_out = "Copy or download that file again, or take another model."
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        depth = _depth(value)
    except RecursionError:
        value, depth = {}, MAX_DEPTH + 1
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}. {way_out}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{file} holds a {type(value).__name__}, where a JSON object is needed. {way_out}")
    if depth > MAX_DEPTH:
        raise ValueError(f"{file} is nested too deeply: more than {MAX_DEPTH} levels. {way_out}")
    return value


def _depth(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inside), default=0)


def check_adapter(file: Path) -> None:
    """Raises ValueError for what no run of this package saves, with the file and the key."""
    settings = read_object(file)
    way_out = (
        "Only adapters that vlm-rl saved are taken: export the run again, or copy the folder again from where it was made."
    )
    usual = LoraConfig().to_dict()
    for key, value in settings.items():
        if key in _FREE:
            wrong = not (value is None or isinstance(value, str | bool)) or (key == "peft_type" and value != "LORA")
        elif key in _OWN:
            wrong = not _is_sane(key, value)
        else:
            wrong = bool(value) and not (
                key in usual and value == (sorted(usual[key]) if isinstance(usual[key], set) else usual[key])
            )
        if wrong:
            raise ValueError(f"{file}: {key}={str(value)[:200]!r} is nothing that a run of vlm-rl saves. {way_out}")
    if settings.get("peft_type") != "LORA":
        raise ValueError(f"{file} does not say peft_type=LORA. {way_out}")


def _is_sane(key: str, value: object) -> bool:
    if key == "r":
        return type(value) is int and 0 < value <= MAX_RANK
    if key == "lora_alpha":
        return type(value) in (int, float)
    if key in ("rank_pattern", "alpha_pattern"):
        most = MAX_RANK if key == "rank_pattern" else float("inf")
        return isinstance(value, dict) and all(type(n) in (int, float) and 0 <= n <= most for n in value.values())
    if isinstance(value, list):
        return all(isinstance(name, str) and len(name) <= MAX_CHARS for name in value)
    return value is None or (key == "target_modules" and isinstance(value, str) and len(value) <= MAX_CHARS)
