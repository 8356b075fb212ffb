"""What a checkpoint holds, an adapter or a whole model, put into the model that it was trained from; nothing else is taken for it."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedModel

from vlm_rl.models.adapters import ADAPTER
from vlm_rl.models.folder_files import ADAPTER_CONFIG, read_object
from vlm_rl.models.loading import check_weights, load_config
from vlm_rl.models.weight_files import Misfit, check_finite, misfit, read_model

ADAPTER_WEIGHTS = "adapter_model.safetensors"
SCALE = ("r", "lora_alpha", "rank_pattern", "alpha_pattern")
WAY_OUT = (
    "It was saved by another model or another version of Transformers or PEFT: take model.name, model.lora and the versions that stand "
    "in the run's manifest.json, or go on from another checkpoint. If the file was changed, copy it again."
)


def load_adapter(model: PeftModel, folder: Path) -> None:
    """Takes adapters and parts trained in full from a folder. Raises ValueError where they are not those of `model`."""
    check_scale(folder, model.peft_config[ADAPTER].to_dict())
    told = set_peft_model_state_dict(model, fitting(model, folder))
    Misfit(missing=(), unexpected=told.unexpected_keys, mismatched={}).check(str(folder / ADAPTER_WEIGHTS), way_out=WAY_OUT)


def load_whole(vlm: PreTrainedModel, folder: Path) -> None:
    """Takes all weights from a folder, each in its own dtype there; float32 holds bfloat16 exactly."""
    if (folder / ADAPTER_CONFIG).exists():
        raise ValueError(
            f"{folder} holds an adapter, but model.lora=null trains the whole model. Leave model.lora as it was in that run."
        )
    saved = read_model(str(folder), str(folder), dtype=torch.float32).state_dict()
    misfit(saved, needed=vlm.state_dict()).check(str(folder), way_out=WAY_OUT)
    vlm.load_state_dict(saved)


def with_adapter(base: PreTrainedModel, folder: Path) -> PeftModel:
    """The base with the adapter of a folder beside its weights; PEFT puts it where the base is."""
    model = _prepared(base, folder)
    load_adapter(model, folder)
    return model


def check_adapter_of(name: str, folder: Path) -> None:
    """Raises ValueError where an adapter is none of the model `name`, whose weights are not read."""
    config = load_config(name)
    with torch.device("meta"):
        model = _prepared(AutoModelForImageTextToText.from_config(config), folder)
    fitting(model, folder)


def fitting(model: PeftModel, folder: Path) -> dict[str, Tensor]:
    """The tensors of an adapter's file, which are all those that PEFT would save of `model`, and finite."""
    file = folder / ADAPTER_WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is not there, but model.lora trains an adapter. Copy the checkpoint again; where it holds a whole model, "
            "leave model.lora as it was in that run (null)."
        )
    tensors = load_file(file)
    needed = get_peft_model_state_dict(model, save_embedding_layers=False)
    with_tables = get_peft_model_state_dict(model, save_embedding_layers=True)  # where the head has an adapter, PEFT adds them
    misfit(tensors, needed=needed, allowed=with_tables.keys()).check(str(file), way_out=WAY_OUT)
    check_finite(str(file), tensors, way_out="Go on from another checkpoint, or copy that file again.")
    return tensors


def _prepared(base: PreTrainedModel, folder: Path) -> PeftModel:
    """Adapters as the folder's config has them, with no weights from there yet."""
    check_weights(folder)
    settings = LoraConfig.from_pretrained(folder)
    try:
        model: PeftModel = get_peft_model(base, settings)
    except ValueError as error:
        raise ValueError(f"{folder / ADAPTER_CONFIG} does not fit {type(base).__name__}: {error} {WAY_OUT}") from error
    return model


def check_scale(folder: Path, ours: dict[str, Any]) -> None:
    """Raises ValueError where rank or scale in the folder are others than `ours`, by PEFT's names; no shape shows a scale."""
    file = folder / ADAPTER_CONFIG
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there, so the scale of the adapter is not known. Copy the checkpoint again.")
    told = read_object(file)
    for key, value in ours.items():
        if key in SCALE and (told.get(key) or None) != (value or None):
            raise ValueError(f"{file}: {key}={told.get(key)}, where the run's model.lora makes it {value}. {WAY_OUT}")
