"""Folders with small models of random weights, in the layout that AutoProcessor and AutoModelForImageTextToText read."""

from pathlib import Path

import torch
from families import gemma3, glm, idefics, internvl, kimi, lfm, llava_onevision, qwen, qwen3_5, qwen_moe
from families.family import Family
from torch import nn
from transformers import AutoModelForImageTextToText, GenerationConfig

_FAMILIES: dict[str, Family] = {
    **qwen.FAMILIES,
    **gemma3.FAMILIES,
    **idefics.FAMILIES,
    **llava_onevision.FAMILIES,
    **internvl.FAMILIES,
}
FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
_NEW: dict[str, Family] = {
    **qwen3_5.FAMILIES,
    **qwen_moe.FAMILIES,
    **glm.FAMILIES,
    **lfm.FAMILIES,
    **kimi.FAMILIES,
}
NEW_FAMILIES: tuple[str, ...] = tuple(_NEW)  # tests/models/test_new_families.py


def _loud(model: nn.Module) -> None:
    """Every weight matters: matrices keep the size of what goes through them, and nothing stays at exactly 0 or 1.

    Transformers' own initialisation is so faint at this width that wrong positions or a lost image would hardly show.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                matrix = parameter[0] if ".experts." in name else parameter  # all experts of a layer are one parameter
                parameter.copy_(noise / matrix[0].numel() ** 0.5)
            else:
                parameter.add_(0.1 * noise)
        for name, buffer in model.named_buffers():
            if name.endswith("correction_bias"):  # of a router
                buffer.add_(0.1 * torch.randn(buffer.shape, generator=generator))


def build(family: str, folder: Path) -> Path:
    """Writes the family's model into `folder` and returns it; the same bytes each time."""
    recipe = (_FAMILIES | _NEW)[family]
    tokenizer = recipe.tokenizer()
    recipe.processor(tokenizer).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForImageTextToText.from_config(recipe.config(tokenizer))
    _loud(model)
    stop_ids = [tokenizer.convert_tokens_to_ids(token) for token in recipe.stop_tokens]
    model.generation_config = GenerationConfig(eos_token_id=stop_ids, pad_token_id=tokenizer.pad_token_id, do_sample=True)
    model.save_pretrained(folder)
    return folder
