"""adapter_config.json as vlm-rl writes it. PEFT's other keys import modules, copy layers or change what the adapter is."""

from pathlib import Path
from typing import Any

from peft import LoraConfig

from vlm_rl.models.folder_files import read_object

ADAPTER_CONFIG = "adapter_config.json"
MAX_RANK = 4096
MAX_CHARS = 100_000  # of a regular expression or a list of layers
_FREE = ("base_model_name_or_path", "revision", "peft_version", "peft_type", "task_type", "inference_mode")
_OWN = ("r", "lora_alpha", "target_modules", "modules_to_save", "rank_pattern", "alpha_pattern")


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
            wrong = bool(value) and not (key in usual and value == _plain(usual[key]))
        if wrong:
            raise ValueError(f"{file}: {key}={str(value)[:200]!r} is nothing that a run of vlm-rl saves. {way_out}")
    if settings.get("peft_type") != "LORA":
        raise ValueError(f"{file} does not say peft_type=LORA. {way_out}")


def _plain(value: Any) -> Any:
    """As JSON has it."""
    return sorted(value) if isinstance(value, set) else value


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
