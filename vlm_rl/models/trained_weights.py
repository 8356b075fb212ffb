"""Load a checkpoint into the model that it was trained from, and merge an adapter into its base; any misfit is an error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedModel, ProcessorMixin

from vlm_rl.models.adapters import ADAPTER
from vlm_rl.models.attention import Attention
from vlm_rl.models.family import banned_ids
from vlm_rl.models.folder_files import ADAPTER_CONFIG, WEIGHTS, read_object
from vlm_rl.models.loading import check_weights, load_config, load_pretrained, load_untrained
from vlm_rl.models.weight_files import check_finite, misfit, read_model
from vlm_rl.models.weight_parts import dtypes_of_parts, load_parts, tensors_of

ADAPTER_WEIGHTS = "adapter_model.safetensors"
SCALE = ("r", "lora_alpha", "rank_pattern", "alpha_pattern")
WAY_OUT = (
    "It was saved by another model or another version of Transformers or PEFT: take model.name, model.lora and the versions that stand "
    "in the run's manifest.json, or go on from another checkpoint. If the file was changed, copy it again."
)
PROBE_TOKENS = 32  # written by the model with the adapter, after a prompt with a picture
# Nats, mean over those tokens: what rounding every weight once may do. Measured on the tiny model: 6e-7, 3e-4 and 2e-3.
TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}


def load_adapter(model: PeftModel, folder: Path) -> None:
    """Takes adapters and parts trained in full from a folder. Raises ValueError where they are not those of `model`."""
    check_scale(folder, model.peft_config[ADAPTER].to_dict())
    set_peft_model_state_dict(model, fitting(model, folder))


def load_whole(vlm: PreTrainedModel, folder: Path) -> None:
    """Takes all weights from a folder, each in its own dtype there; float32 holds bfloat16 exactly."""
    if (folder / ADAPTER_CONFIG).exists():
        raise ValueError(
            f"{folder} holds an adapter, but model.lora=null trains the whole model. Leave model.lora as it was in that run."
        )
    saved = read_model(str(folder), str(folder), dtype=torch.float32).state_dict()
    misfit(saved, needed=vlm.state_dict()).check(str(folder), way_out=WAY_OUT)
    vlm.load_state_dict(saved)


def assembled(folder: Path) -> PreTrainedModel:
    """The whole model of a checkpoint that was written in parts, each tensor in the precision that it was saved in; on the CPU."""
    vlm = load_untrained(str(folder), dtype="float32", attention="sdpa", root_seed=0)
    tensors = tensors_of(vlm)
    load_parts(tensors, folder / WEIGHTS, way_out=WAY_OUT)
    dtypes = dtypes_of_parts(folder / WEIGHTS)
    for name, parameter in vlm.named_parameters():
        parameter.data = parameter.data.to(dtypes[name])
    return vlm


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
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged or cut off ({error}). Copy the checkpoint again.") from None
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
    saved = read_object(file)
    for key, value in ours.items():
        if key in SCALE and (saved.get(key) or None) != (value or None):
            raise ValueError(f"{file}: {key}={saved.get(key)}, where the run's model.lora makes it {value}. {WAY_OUT}")


@dataclass(frozen=True, kw_only=True)
class MergeDifference:
    """Log-probabilities with merged weights against those with the adapter, in nats."""

    dtype: str
    mean: float  # of the absolute differences
    largest: float
    num_tokens: int


def merge(
    base: Callable[[], PreTrainedModel],
    *,
    adapter: Path,
    processor: ProcessorMixin,
    prompt: str,
    folder: Path,
    dtype: str,
    attention: Attention = "sdpa",
    chat_template: Mapping[str, object] = MappingProxyType({}),
) -> MergeDifference:
    """Saves the merged model in a new folder, as plain Transformers has it; an error if it is not the same model.

    `base` loads the base model in float32, on the device that is to compute; `prompt` is the text of the probe beside a picture.
    """
    if dtype not in TOLERANCE:
        raise ValueError(f"dtype={dtype}: merged weights are saved as {', '.join(TOLERANCE)}.")
    model = with_adapter(base(), adapter).eval()
    probe = _probe(model, processor=processor, prompt=prompt, chat_template=chat_template)
    beside = _logprobs(model, probe)
    merged = model.merge_and_unload(safe_merge=True)
    inside = _logprobs(merged, probe)
    _round(merged, dtype=getattr(torch, dtype))
    merged.save_pretrained(folder)
    _round(merged, dtype=torch.float32)
    rounded = _logprobs(merged, probe)
    del model, merged  # the one on the disk follows, and both may not fit
    found = _logprobs(load_pretrained(str(folder), dtype="float32", attention=attention).eval().to(rounded.device), probe)
    _check(inside - beside, what="merging", dtype="float32")
    _check(found - rounded, what="saving", dtype="float32")
    _check(found - beside, what=f"rounding to {dtype}", dtype=dtype)
    difference = (found - beside).abs()
    return MergeDifference(
        dtype=dtype, mean=float(difference.mean()), largest=float(difference.max()), num_tokens=difference.numel()
    )


def _round(model: PreTrainedModel, *, dtype: torch.dtype) -> None:
    """Weights only: buffers are no part of the file, and a rotary frequency in bfloat16 is another one."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def _check(difference: Tensor, *, what: str, dtype: str) -> None:
    mean = float(difference.abs().mean())
    if not mean <= TOLERANCE[dtype]:  # NaN is no agreement either
        raise ValueError(
            f"The merged model is not the model with the adapter: {what} changed log-probabilities by {mean:.2g} nats in the mean "
            f"over {difference.numel()} tokens, where {TOLERANCE[dtype]:g} is rounding. Nothing was kept. Share the adapter itself "
            "(merge=false), or save with more digits (dtype=float32)."
        )


@torch.no_grad()
def _probe(
    model: PeftModel, *, processor: ProcessorMixin, prompt: str, chat_template: Mapping[str, object]
) -> dict[str, Tensor]:
    """A prompt with a picture and what the model answers, as one input."""
    picture = Image.linear_gradient("L").resize((168, 112)).convert("RGB")
    content = [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]
    settings: dict[str, Any] = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    turns = [{"role": "user", "content": content}]
    inputs = processor.apply_chat_template(turns, **settings, **chat_template).to(model.device)
    length = inputs["input_ids"].shape[1]
    banned = banned_ids(model.get_base_model(), processor).nonzero()[:, 0].tolist()
    exactly: dict[str, Any] = {"min_new_tokens": PROBE_TOKENS, "max_new_tokens": PROBE_TOKENS}
    whole = model.generate(**inputs, do_sample=False, pad_token_id=0, suppress_tokens=banned or None, **exactly)
    longer = whole.new_zeros(1, whole.shape[1] - length)
    probe = {name: torch.cat([value, longer], dim=1) if value.shape == (1, length) else value for name, value in inputs.items()}
    return probe | {"input_ids": whole, "attention_mask": torch.ones_like(whole)}


@torch.no_grad()
def _logprobs(model: torch.nn.Module, probe: dict[str, Tensor]) -> Tensor:
    """Of the tokens of the answer, each given all before it."""
    tokens = probe["input_ids"][0, -PROBE_TOKENS:]
    logits = model(**probe).logits[0, -PROBE_TOKENS - 1 : -1].float()
    chosen: Tensor = logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    return chosen
