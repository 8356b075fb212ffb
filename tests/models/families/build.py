"""Folders with small models of random weights, in the layout that AutoProcessor and AutoModelForImageTextToText read."""

from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, GenerationConfig

from families import (
    cohere,
    gemma3,
    gemma4,
    glm,
    idefics,
    internvl,
    kimi,
    lfm,
    llava,
    llava_onevision,
    minicpm,
    mistral,
    muse,
    ovis,
    qwen,
    qwen3_5,
    qwen_moe,
)
from families.family import Family
from vlm_rl.models.small_copy import make_loud

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
    **gemma4.FAMILIES,
    **mistral.FAMILIES,
    **llava.FAMILIES,
    **minicpm.FAMILIES,
    **cohere.FAMILIES,
    **ovis.FAMILIES,
    **muse.FAMILIES,
}
NEW_FAMILIES: tuple[str, ...] = tuple(_NEW)  # tests/models/test_new_families.py


def build(family: str, folder: Path) -> Path:
    """Writes the family's model into `folder` and returns it; the same bytes each time."""
    recipe = (_FAMILIES | _NEW)[family]
    tokenizer = recipe.tokenizer()
    recipe.processor(tokenizer).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForImageTextToText.from_config(recipe.config(tokenizer))
    make_loud(model)
    stop_ids = [tokenizer.convert_tokens_to_ids(token) for token in recipe.stop_tokens]
    model.generation_config = GenerationConfig(eos_token_id=stop_ids, pad_token_id=tokenizer.pad_token_id, do_sample=True)
    model.save_pretrained(folder)
    return folder
