"""The three parts of a vision-language model, told apart by the paths of their parameters: vision, connector, language."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

PARTS = ("vision", "connector", "language")
_CONNECTOR = re.compile(r"(^|\.)(merger|deepstack_merger_list|multi_modal_projector|connector)\.")
_VISION = re.compile(r"(^|\.)(visual|vision_tower|vision_model)\.")
LANGUAGE_PATH = r"(?:.*\.)?(?:language_model|text_model)\."  # the vision MLPs of Qwen-VL have the language MLPs' names


def part_of(name: str) -> str:
    """The part that a parameter belongs to; the connector often lies inside the vision tower's module."""
    if _CONNECTOR.search(name):
        return "connector"
    return "vision" if _VISION.search(name) else "language"


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters (Hu et al., 2021) on the language part's linear layers; no dropout, or sampling and training differ."""

    rank: int
    alpha: int
    targets: str  # regular expression of layer names inside the language part

    @property
    def pattern(self) -> str:
        """PEFT matches it against a module's whole path."""
        return f"{LANGUAGE_PATH}.*\\.(?:{self.targets})"


@dataclass(frozen=True, kw_only=True)
class PartSize:
    """One line of the table of trainable parameters."""

    part: str
    total: int
    trainable: int


def freeze(model: nn.Module, parts: Collection[str]) -> None:
    """No gradients for these parts, gradients for the others."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise ValueError(f"model.freeze: unknown part {sorted(unknown)}; the parts are {', '.join(PARTS)}.")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) not in parts)


def sizes(model: nn.Module) -> list[PartSize]:
    """How many parameters each part has and trains."""
    rows = []
    for part in PARTS:
        members = [p for name, p in model.named_parameters() if part_of(name) == part]
        trainable = sum(p.numel() for p in members if p.requires_grad)
        rows.append(PartSize(part=part, total=sum(p.numel() for p in members), trainable=trainable))
    return rows
