"""What of a model is trained: each of its three parts is frozen, has LoRA adapters or is trained in full."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from vlm_rl.models.adapters import Lora, attach
from vlm_rl.models.anatomy import PARTS, anatomy, is_tied
from vlm_rl.randomness import forked_generator, stream_seed

__all__ = ["PARTS", "Lora", "PartSize", "check_engine", "prepare", "sizes", "trained"]
_UNTRAINED_COPY = re.compile(r"\.original_module\.")  # PEFT's reference of a part trained in full


def prepare(vlm: PreTrainedModel, *, freeze: Sequence[str], lora: Lora | None, seed: int) -> PeftModel | None:
    """Freezes, adds adapters and makes all that is trained float32, in place; the adapter where there is LoRA.

    What is in neither `freeze` nor `lora.targets` is trained in full. Raises ValueError for a choice that makes no sense.
    """
    adapted = tuple(lora.patterns) if lora else ()
    full = _trained_in_full(freeze, adapted)
    if lora is not None and not adapted:
        raise ValueError("model.lora has no targets: give a part, as model.lora.targets.language=..., or set model.lora=null.")
    body, adapter = anatomy(vlm), None
    if lora is None:
        for name, parameter in vlm.named_parameters():
            parameter.requires_grad_(body.part_of(name) in full)
    else:
        with forked_generator(stream_seed(seed, "lora_initialisation")):
            adapter = attach(vlm, lora, full=full, body=body)
    for parameter in vlm.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapter


def _trained_in_full(freeze: Sequence[str], adapted: Sequence[str]) -> list[str]:
    for key, parts in (("model.freeze", freeze), ("model.lora.targets", adapted)):
        if unknown := [part for part in parts if part not in PARTS]:
            raise ValueError(f"{key}: unknown part {', '.join(unknown)}; the parts are {', '.join(PARTS)}.")
    if both := set(freeze) & set(adapted):
        part = min(both)
        raise ValueError(
            f"{part} is in model.freeze and in model.lora.targets. Take it out of one: model.lora.targets.{part}=null freezes it, "
            f"model.freeze=[{','.join(p for p in freeze if p != part)}] gives it adapters."
        )
    return [part for part in PARTS if part not in freeze and part not in adapted]


def trained(vlm: PreTrainedModel) -> dict[str, list[nn.Parameter]]:
    """The trained parameters of each part that has any, language first; a tied tensor is there once."""
    body = anatomy(vlm)
    members: dict[str, list[nn.Parameter]] = {part: [] for part in reversed(PARTS)}
    for name, parameter in vlm.named_parameters():
        if parameter.requires_grad:
            members[body.part_of(name)].append(parameter)
    return {part: parameters for part, parameters in members.items() if parameters}


@dataclass(frozen=True, kw_only=True)
class PartSize:
    """One line of the table of trainable parameters."""

    part: str
    state: str  # frozen, LoRA with its rank, or full
    total: int  # adapters included; a tied tensor counts once, the untrained copy that serves as reference not at all
    trainable: int
    dtypes: tuple[str, ...]
    tied: bool  # the LM head is the embedding table


def sizes(vlm: PreTrainedModel) -> list[PartSize]:
    """How many parameters each part has and trains."""
    body = anatomy(vlm)
    named = {name: p for name, p in vlm.named_parameters() if not _UNTRAINED_COPY.search(name)}
    rows = []
    for part in PARTS:
        members = {name: p for name, p in named.items() if body.part_of(name) == part}
        rows.append(
            PartSize(
                part=part,
                state=_state(members),
                total=sum(p.numel() for p in members.values()),
                trainable=sum(p.numel() for p in members.values() if p.requires_grad),
                dtypes=tuple(sorted({str(p.dtype).removeprefix("torch.") for p in members.values()})),
                tied=part == "language" and is_tied(vlm),
            )
        )
    return rows


def _state(members: dict[str, nn.Parameter]) -> str:
    ranks = {str(p.shape[0]) for name, p in members.items() if ".lora_A." in name}
    if ranks:
        return f"LoRA r={'/'.join(sorted(ranks))}"
    frozen = [name for name, p in members.items() if not p.requires_grad]
    if len(frozen) == len(members):
        return "frozen"
    return f"full but {', '.join(frozen)}" if frozen else "full"


def check_engine(vlm: PreTrainedModel, *, engine: str, synced_parts: Collection[str]) -> None:
    """Responses must come from the policy that learns: raises ValueError where the engine never sees what a part learns."""
    unseen = [part for part in trained(vlm) if part not in synced_parts]
    if unseen:
        parts = " and ".join(unseen)
        raise ValueError(
            f"{engine} would ignore what {parts} learns: only {' and '.join(sorted(synced_parts))} reaches it. "
            f"Freeze the rest (model.freeze=[{','.join(p for p in PARTS if p not in synced_parts)}], and no model.lora.targets for it), "
            "or sample with rollout=huggingface."
        )
