"""Low-rank adapters (Hu et al., 2021) on chosen layers of chosen parts, and beside them whole parts trained in full.

PEFT keeps both in one folder: a part trained in full is a copy of its modules (`modules_to_save`), so switching the adapters
off gives the vanilla model, whatever was trained. No dropout, or sampling and training would differ.
"""

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

ADAPTER = "default"  # the name under which PEFT keeps the only adapter
PartOf = Callable[[str], str]  # a path -> vision, connector or language
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)  # they have no forward to stand in for


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Rank and scale, and for each part that gets adapters a regular expression of the names of its linear layers."""

    rank: int
    alpha: int
    targets: Mapping[str, str | None]  # by part; None: no adapters there

    @property
    def patterns(self) -> dict[str, str]:
        """Of the parts that get adapters."""
        return {part: pattern for part, pattern in self.targets.items() if pattern is not None}


def is_tied(vlm: PreTrainedModel) -> bool:
    """Whether the LM head and the embedding table are one tensor."""
    head, table = vlm.get_output_embeddings(), vlm.get_input_embeddings()
    return isinstance(head, nn.Module) and head.weight is table.weight


def multiply_under_autocast(adapter: PeftModel) -> None:
    """Switch off PEFT's cast of adapter inputs to float32: under autocast the products round them anyway, and the copy is saved."""
    for module in adapter.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False


def layer_name(path: str) -> str:
    """The last component of a path, with the one before where that is a mere number: `q_proj`, `mlp.0`."""
    *above, last = path.split(".")
    return f"{above[-1]}.{last}" if last.isdigit() and above else last


def attach(vlm: PreTrainedModel, lora: Lora, *, full: Collection[str], part_of: PartOf) -> PeftModel:
    """Rewrites the layers of `vlm` in place; draws from torch's generator."""
    found = [path for part, pattern in lora.patterns.items() for path in _layers(vlm, part, pattern, part_of)]
    tied = is_tied(vlm)
    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=_as_pattern(found, among=[path for path, _ in vlm.named_modules()]),
        modules_to_save=_covering(vlm, "", full, part_of) or None,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings=True.*")  # tied again below
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)  # PEFT's own
        adapter: PeftModel = get_peft_model(vlm, settings)
    if tied and "language" in full:
        vlm.get_output_embeddings().modules_to_save[ADAPTER].weight = vlm.get_input_embeddings().weight
    return adapter


def _layers(vlm: PreTrainedModel, part: str, pattern: str, part_of: PartOf) -> list[str]:
    """Paths of the linear layers of a part whose names match as a whole."""
    key = f"model.lora.targets.{part}={pattern!r}"
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{key} is no regular expression: {error}.") from error
    modules = {path: module for path, module in vlm.named_modules() if path and part_of(path) == part}
    matching = {path: module for path, module in modules.items() if wanted.fullmatch(layer_name(path))}
    ends = (vlm.get_input_embeddings(), vlm.get_output_embeddings())
    table = [layer_name(path) for path, module in matching.items() if any(module is end for end in ends)]
    if table and is_tied(vlm):
        raise ValueError(
            f"{key} matches {' and '.join(table)}, but embeddings and LM head of this model are one tied tensor: an adapter would "
            "change one use of it and not the other, and could not be merged. Name other layers, or train language in full."
        )
    linear = [path for path, module in matching.items() if isinstance(module, nn.Linear)]
    if not linear:
        names = sorted({layer_name(path) for path, module in modules.items() if isinstance(module, nn.Linear)})
        has = f"Those that it has: {', '.join(names)}" if names else "It has none: freeze it or train it in full"
        raise ValueError(f"{key} matches no linear layer of this part. {has}.")
    return linear


def _as_pattern(paths: Iterable[str], *, among: list[str]) -> str | list[str]:
    """One short regular expression for exactly these paths; the paths themselves where numbers as wildcards catch others."""
    wanted, names = set(paths), dict[str, set[str]]()
    for path in wanted:
        stem, dot, name = path.rpartition(".")
        names.setdefault(re.sub(r"\\\.\d+(?=\\\.|$)", r"\\.\\d+", re.escape(stem + dot)), set()).add(re.escape(name))
    pattern = "|".join(f"{stem}(?:{'|'.join(sorted(ends))})" for stem, ends in sorted(names.items()))
    return pattern if wanted == {path for path in among if re.fullmatch(pattern, path)} else sorted(wanted)


def _covering(module: nn.Module, path: str, full: Collection[str], part_of: PartOf) -> list[str]:
    """The largest modules that hold parameters of parts trained in full and no others."""
    members = {part_of(name) for name, _ in module.named_parameters(prefix=path)}
    if members and members <= set(full) and not isinstance(module, _CONTAINERS):
        return [path]
    children = module.named_children() if members & set(full) else ()
    return [found for name, child in children for found in _covering(child, f"{path}.{name}".lstrip("."), full, part_of)]
