"""The parts of a model (vision, connector, language), found from its classes, and how each is trained: frozen, LoRA or in full."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from peft import PeftModel
from rich.table import Table
from torch import nn
from transformers import PreTrainedModel

from vlm_rl.models.adapters import adapted, attach
from vlm_rl.models.coverage import Coverage, coverage
from vlm_rl.models.matrices import count
from vlm_rl.models.precision import raise_to_float32
from vlm_rl.models.targets import Lora as Lora
from vlm_rl.models.targets import is_tied
from vlm_rl.randomness import forked_generator, stream_seed

PARTS = ("vision", "connector", "language")
_CONNECTOR_IN_TOWER = re.compile(r"\.(?:(?:deepstack_)?merger(?:_list)?|connector|multi_modal_projector)(?:\.|$)")
_REFERENCE_COPY = re.compile(r"\.original_module\.")  # PEFT's reference of a part trained in full
_SHORT = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "uint8": "nf4"}
_NUMBERS = ("parameters", "trainable", "learning rate")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Paths of the modules that are encoders and of those that are decoder and LM head; what lies between is the connector."""

    vision: tuple[str, ...]
    language: tuple[str, ...]

    def part_of(self, path: str) -> str:
        """The part of a module or a parameter; some families keep the connector inside the vision tower."""
        if _inside(path, self.language):
            return "language"
        return "vision" if _inside(path, self.vision) and not _CONNECTOR_IN_TOWER.search(path) else "connector"


def _inside(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + ".") for root in roots)


def find_parts(vlm: PreTrainedModel) -> Parts:
    """Find encoders by their vision or audio config (an audio tower counts as vision) and the decoder by the text config.

    A model that has a vision config, but no encoder, has an empty vision part: all that brings patches into its decoder is connector.
    Raise ValueError for a model in which the decoder or all of vision is missing.
    """
    text = vlm.config.get_text_config()
    senses = [name for name in vlm.config.sub_configs if "vision" in name or "audio" in name]
    sense_configs = tuple(type(config) for name in senses if (config := getattr(vlm.config, name, None)) is not None)
    with_config = {path: module.config for path, module in vlm.named_modules() if path and isinstance(module, PreTrainedModel)}
    vision = _outermost([path for path, config in with_config.items() if type(config) in sense_configs])
    language = _outermost([path for path, config in with_config.items() if type(config) is type(text)])
    head = vlm.get_output_embeddings()
    heads = [path for path, module in vlm.named_modules() if module is head]
    if not (vision or sense_configs) or not language or type(text) is type(vlm.config):
        missing = "language" if vision or sense_configs else "vision"
        children = ", ".join(name for name, _ in getattr(vlm, "model", vlm).named_children())
        raise ValueError(
            f"{type(vlm).__name__}: no {missing} part is found; its submodules are {children}. model.freeze and model.lora need a "
            "model whose config has a vision_config and a text_config, each with a submodule of its own."
        )
    return Parts(vision=vision, language=(*language, *heads))


def _outermost(paths: list[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if not any(path.startswith(other + ".") for other in paths))


def prepare(vlm: PreTrainedModel, *, freeze: Sequence[str], lora: Lora | None, seed: int) -> PeftModel | None:
    """Freeze parts, add adapters and make all trained parameters float32, in place; return the PEFT model where there is LoRA.

    A part that is neither in `freeze` nor in `lora.targets` is trained in full. Raise ValueError naming the key of a wrong choice.
    """
    adapted = tuple(lora.patterns) if lora else ()
    full = _trained_in_full(freeze, adapted)
    if lora is not None and not adapted:
        raise ValueError("model.lora has no targets: give a part, as model.lora.targets.language=..., or set model.lora=null.")
    if getattr(vlm, "is_loaded_in_4bit", False) and (lora is None or "language" in full):
        raise ValueError(
            "model.quantization: weights in 4 bits cannot be trained in full. Give the language part adapters "
            "(model.lora.targets.language=all), or set model.quantization=null."
        )
    found, adapter = find_parts(vlm), None
    if lora is None:
        for name, parameter in vlm.named_parameters():
            parameter.requires_grad_(found.part_of(name) in full)
    else:
        with forked_generator(stream_seed(seed, "lora_initialisation")):
            adapter = attach(vlm, lora, full=full, part_of=found.part_of)
    for parameter in vlm.parameters():
        if parameter.requires_grad:
            raise_to_float32(parameter)
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
    found = find_parts(vlm)
    members: dict[str, list[nn.Parameter]] = {part: [] for part in reversed(PARTS)}
    for name, parameter in vlm.named_parameters():
        if parameter.requires_grad:
            members[found.part_of(name)].append(parameter)
    return {part: parameters for part, parameters in members.items() if parameters}


@dataclass(frozen=True, kw_only=True)
class PartSize:
    """One line of the table of trainable parameters."""

    part: str
    state: str  # frozen, LoRA with its rank, or full
    total: int  # adapters included; a tied tensor counts once, the copy that serves as reference not at all
    trainable: int
    dtypes: tuple[str, ...]
    tied: bool  # the LM head is the embedding table
    note: str = ""  # what else counts as this part
    coverage: Coverage | None = None  # None: it has no adapters


def sizes(vlm: PreTrainedModel) -> list[PartSize]:
    """How many parameters each part has and trains."""
    found = find_parts(vlm)
    ranks = adapted(vlm)
    reached = {row.part: row for row in coverage(vlm, part_of=found.part_of)}
    named = {name: p for name, p in vlm.named_parameters() if not _REFERENCE_COPY.search(name)}
    rows = []
    for part in PARTS:
        members = {name: p for name, p in named.items() if found.part_of(name) == part}
        rows.append(
            PartSize(
                part=part,
                state=_state(members, ranks={rank for path, rank in ranks.items() if found.part_of(path) == part}),
                total=sum(count(p) for p in members.values()),
                trainable=sum(p.numel() for p in members.values() if p.requires_grad),
                dtypes=tuple(sorted({str(p.dtype).removeprefix("torch.") for p in members.values()})),
                tied=part == "language" and is_tied(vlm),
                note=_note(vlm, found.vision) if part == "vision" else "",
                coverage=reached.get(part),
            )
        )
    return rows


def _note(vlm: PreTrainedModel, roots: Sequence[str]) -> str:
    """The audio towers among the encoders, which are frozen or trained with vision."""
    audio = getattr(vlm.config, "audio_config", None)
    towers = [path for path in roots if audio is not None and type(vlm.get_submodule(path).config) is type(audio)]
    return f"with {', '.join(path.rpartition('.')[-1] for path in towers)}" if towers else ""


def _state(members: dict[str, nn.Parameter], *, ranks: Collection[int]) -> str:
    if ranks:
        return f"LoRA r={'/'.join(map(str, sorted(ranks)))}"
    if not members:
        return "none"
    frozen = [name for name, p in members.items() if not p.requires_grad]
    if len(frozen) == len(members):
        return "frozen"
    return f"full but {', '.join(frozen)}" if frozen else "full"


def check_engine(vlm: PreTrainedModel, *, engine: str, synced_parts: Collection[str]) -> None:
    """Raise ValueError where a trained part never reaches the engine: responses must come from the policy that learns."""
    unseen = [part for part in trained(vlm) if part not in synced_parts]
    if unseen:
        parts = " and ".join(unseen)
        raise ValueError(
            f"{engine} would ignore what {parts} learns: only {' and '.join(sorted(synced_parts))} reaches it. "
            f"Freeze the rest (model.freeze=[{','.join(p for p in PARTS if p not in synced_parts)}], and no model.lora.targets for it), "
            "or sample with rollout=huggingface."
        )


def check_adapters_only(vlm: PreTrainedModel, *, engine: str) -> None:
    """Raise ValueError where more is trained than an adapter, for an engine that is sent nothing else."""
    if whole := [name for name, parameter in vlm.named_parameters() if parameter.requires_grad and ".lora_" not in name]:
        raise ValueError(
            f"{engine} is sent adapters alone: vLLM takes other weights only by calls of its development mode, which change often. "
            f"{len(whole)} tensors beside them are trained ({whole[0]}). Train low-rank adapters of "
            "the language part (model.lora, model.freeze=[vision,connector]), or sample with rollout=huggingface."
        )


def part_table(rows: Sequence[PartSize], *, rates: Mapping[str, float]) -> Table:
    """A line for each part and one for their sum, and under it what adapters reach; `rates` are those before the algorithm's factor."""
    notes = ["LM head and embeddings are one tied tensor, counted once."] if any(row.tied for row in rows) else []
    notes += [row.coverage.line for row in rows if row.coverage is not None]
    table = Table(title="What is trained", caption="\n".join(notes) or None, caption_justify="left")
    for column in ("part", "state", "parameters", "trainable", "precision", "learning rate"):
        table.add_column(column, justify="right" if column in _NUMBERS else "left")
    for row in rows:
        rate = f"{rates[row.part]:.2g}" if row.part in rates else "-"
        precision = " + ".join(_SHORT.get(dtype, dtype) for dtype in row.dtypes)
        table.add_row(f"{row.part} {row.note}".rstrip(), row.state, f"{row.total:,}", f"{row.trainable:,}", precision, rate)
    total, trainable = sum(row.total for row in rows), sum(row.trainable for row in rows)
    table.add_section()
    table.add_row("all", f"{100 * trainable / total:.2f} %", f"{total:,}", f"{trainable:,}", "", "")
    return table
