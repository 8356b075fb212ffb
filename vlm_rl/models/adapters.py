"""Low-rank adapters (Hu et al., 2021) on chosen layers of chosen parts, and beside them whole parts trained in full.

PEFT keeps both in one folder: a part trained in full is a copy of its modules (`modules_to_save`), so switching the adapters
off gives the vanilla model, whatever was trained. No dropout, or sampling and training would differ.
"""

import re
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import ModulesToSaveWrapper
from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
from torch import nn
from transformers import PreTrainedModel

from vlm_rl.models.lean_adapters import make_lean
from vlm_rl.models.matrices import without_adapter
from vlm_rl.models.targets import Lora as Lora
from vlm_rl.models.targets import PartOf, chosen, is_tied
from vlm_rl.models.targets import layer_name as layer_name

ADAPTER = "default"  # the name under which PEFT keeps the only adapter
SHOWN = 3  # paths in an error
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)  # they have no forward to stand in for


def multiply_under_autocast(adapter: PeftModel) -> None:
    """Switch off PEFT's cast of adapter inputs to float32: under autocast the products round them anyway, and the copy is saved."""
    for module in adapter.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False


def attach(vlm: PreTrainedModel, lora: Lora, *, full: Collection[str], part_of: PartOf) -> PeftModel:
    """Rewrites the layers of `vlm` in place; draws from torch's generator.

    Raise ValueError where PEFT would adapt other layers than those that were chosen.
    """
    wanted = chosen(vlm, lora, part_of=part_of)
    spelling = _spelled(vlm, wanted)
    copies = _covering(vlm, "", full, part_of)
    tied = is_tied(vlm)
    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=spelling.layers,
        target_parameters=spelling.parameters or None,
        modules_to_save=copies or None,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings=True.*")  # tied again below
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)  # PEFT's own
        adapter: PeftModel = get_peft_model(vlm, settings)
    make_lean(adapter)
    _check(vlm, wanted=dict.fromkeys(wanted, lora.rank), copies=copies)
    settings.target_modules, settings.target_parameters = (
        spelling.layers,
        spelling.parameters or None,
    )  # PEFT's sets have no order
    if tied and "language" in full:
        vlm.get_output_embeddings().modules_to_save[ADAPTER].weight = vlm.get_input_embeddings().weight
    return adapter


def adapted(vlm: nn.Module) -> dict[str, int]:
    """Rank of each adapter, by the path of its linear layer or of its lone parameter as it is without adapters."""
    ranks = {}
    for path, module in vlm.named_modules():
        if isinstance(module, LoraLayer):
            is_lone = isinstance(module, ParamWrapper) and not isinstance(module.get_base_layer(), nn.Linear)
            ranks[without_adapter(path) + (f".{module.parameter_name}" if is_lone else "")] = int(module.r[ADAPTER])
    return ranks


@dataclass(frozen=True, kw_only=True)
class _Spelling:
    """Paths in the words of a LoraConfig."""

    layers: str | list[str]  # target_modules
    parameters: list[str]  # target_parameters


def _spelled(vlm: PreTrainedModel, paths: Collection[str]) -> _Spelling:
    """Paths in a way that PEFT leaves as it is.

    For some mixtures of experts PEFT rewrites names of layers, such as `down_proj`, into names of fused experts, when it attaches and
    again when it loads. It leaves parameters alone, so there a layer is given by its weight.
    """
    modules = dict(vlm.named_modules())
    layers = [path for path in paths if path in modules]
    names = {path.rpartition(".")[-1]: path for path in layers}
    rewritten = {name for name, path in names.items() if _is_rewritten(vlm, [path])}
    kept = [path for path in layers if path.rpartition(".")[-1] not in rewritten]
    pattern = _as_pattern(kept, among=list(modules))
    parameters = [path if path not in modules else f"{path}.weight" for path in paths if path not in kept]
    return _Spelling(layers=sorted(kept) if _is_rewritten(vlm, pattern) else pattern, parameters=sorted(parameters))


def _is_rewritten(vlm: PreTrainedModel, targets: str | list[str]) -> bool:
    """Whether PEFT, asked itself, makes something else of these targets."""
    trial = LoraConfig(target_modules=targets)
    before = trial.target_modules
    try:
        convert_peft_config_for_transformers(trial, model=vlm, conversions=None)
    except ValueError:  # it wants the layer that it would fuse with this one
        return True
    return bool(trial.target_modules != before)


def _check(vlm: PreTrainedModel, *, wanted: dict[str, int], copies: Collection[str]) -> None:
    """Raise ValueError where adapters, their ranks or the modules trained in full are not those that were meant."""
    copied = {path for path, module in vlm.named_modules() if isinstance(module, ModulesToSaveWrapper)}
    meant, found = (
        set(wanted.items()) | {(path, 0) for path in copies},
        set(adapted(vlm).items()) | {(path, 0) for path in copied},
    )
    if meant != found:
        lists = (
            (title, sorted(path for path, _ in paths)) for title, paths in (("without", meant - found), ("with", found - meant))
        )
        words = [
            f"{title} an adapter or copy that it should {'have' if title == 'without' else 'not have'}: {_few(paths)}"
            for title, paths in lists
            if paths
        ]
        raise ValueError(
            f"PEFT reads model.lora.targets and model.freeze of {type(vlm).__name__} otherwise than they are meant. It leaves layers "
            f"{'; '.join(words)}. Choose other layers in model.lora.targets, such as the attention's alone, or set model.lora=null."
        )


def _few(paths: list[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more


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
