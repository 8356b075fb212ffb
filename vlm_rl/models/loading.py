"""Where a model comes from: a folder or a hub name with weights, or only its config with random weights."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from vlm_rl.randomness import forked_generator, stream_seed

PACKAGE = Path(__file__).parents[1]


def resolve(name: str) -> str:
    """`tiny` is the model that the package ships; a folder or a hub name stays as it is."""
    return str(PACKAGE / "models" / "tiny" / "weights") if name == "tiny" else name


def load_processor(name: str, *, min_pixels: int | None, max_pixels: int | None) -> ProcessorMixin:
    """The model's own processor, padding on the left; the pixel budget holds for trainer and engine alike."""
    budget = {key: value for key, value in (("min_pixels", min_pixels), ("max_pixels", max_pixels)) if value is not None}
    processor: ProcessorMixin = AutoProcessor.from_pretrained(resolve(name), **budget)
    processor.tokenizer.padding_side = "left"
    return processor


def load_pretrained(name: str, *, dtype: str, attention: str) -> PreTrainedModel:
    """Weights from safetensors only, no remote code."""
    model: PreTrainedModel = AutoModelForImageTextToText.from_pretrained(
        resolve(name), dtype=getattr(torch, dtype), attn_implementation=attention, use_safetensors=True
    )
    return model


def load_untrained(name: str, *, dtype: str, attention: str, root_seed: int) -> PreTrainedModel:
    """The architecture of `name` with random weights from a stream of the root seed; what pretraining starts from."""
    with forked_generator(stream_seed(root_seed, "model_initialisation")):
        config = AutoConfig.from_pretrained(resolve(name))
        model: PreTrainedModel = AutoModelForImageTextToText.from_config(
            config, dtype=getattr(torch, dtype), attn_implementation=attention
        )
    return model
