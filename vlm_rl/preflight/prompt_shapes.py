"""The prompts that memory and time are estimated with: the longest one, and one of mean length."""

from dataclasses import replace

import numpy as np

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.preflight.scan import DataCheck
from vlm_rl.preflight.shapes import PromptShape


def longest(dataset: Dataset, check: DataCheck) -> PromptShape | None:
    """Of the usable rows of all splits, for evaluation shares the device; None where no row is usable."""
    tokens = {split: np.where(_usable(check, split), found.prompt_tokens, 0) for split, found in check.splits.items()}
    split = max(tokens, key=lambda split: tokens[split].max(initial=0))
    if not tokens[split].any():
        return None
    return _shape(dataset, check, split=split, index=int(tokens[split].argmax()))


def typical(dataset: Dataset, check: DataCheck) -> PromptShape | None:
    """Of the usable training rows: tokens are their mean, pictures those of the row next to it."""
    usable = _usable(check, "train")
    if not usable.any():
        return None
    tokens = check.splits["train"].prompt_tokens
    mean = tokens[usable].mean()
    index = int(np.where(usable, np.abs(tokens - mean), np.inf).argmin())
    return replace(_shape(dataset, check, split="train", index=index), tokens=round(mean))


def _usable(check: DataCheck, split: str) -> np.ndarray:
    bad = {problem.row_id for problem in check.splits[split].problems}
    return np.array([row_id not in bad for row_id in check.splits[split].ids], dtype=bool)


def _shape(dataset: Dataset, check: DataCheck, *, split: str, index: int) -> PromptShape:
    found = check.splits[split]
    row = dataset.split(split)[int(found.places[index])]
    seen = replace(row, images=tuple(map(check.looked.at, row.images)))
    return PromptShape(tokens=int(found.prompt_tokens[index]), pictures=tuple(dataset.picture_sizes(seen)))
