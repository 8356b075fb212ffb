"""Where vision, connector and language lie inside a vision-language model: read from its classes, not from its family's name."""

import re
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

PARTS = ("vision", "connector", "language")
_CONNECTOR_IN_TOWER = re.compile(r"\.(?:(?:deepstack_)?merger(?:_list)?|connector|multi_modal_projector)(?:\.|$)")


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """Paths of the modules that are encoders and of those that are decoder and LM head; whatever lies between them connects."""

    vision: tuple[str, ...]
    language: tuple[str, ...]

    def part_of(self, path: str) -> str:
        """The part of a module or a parameter; some families keep the connector inside the vision tower."""
        if _inside(path, self.language):
            return "language"
        return "vision" if _inside(path, self.vision) and not _CONNECTOR_IN_TOWER.search(path) else "connector"


def _inside(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + ".") for root in roots)


def anatomy(vlm: PreTrainedModel) -> Anatomy:
    """Encoders carry the config of a sense (an audio tower counts as vision), the decoder carries the text config.

    Raises ValueError for a model in which one of the two is not to be found.
    """
    text = vlm.config.get_text_config()
    senses = [name for name in vlm.config.sub_configs if "vision" in name or "audio" in name]
    sense_configs = tuple(type(config) for name in senses if (config := getattr(vlm.config, name, None)) is not None)
    with_config = {path: module.config for path, module in vlm.named_modules() if path and isinstance(module, PreTrainedModel)}
    vision = _outermost([path for path, config in with_config.items() if type(config) in sense_configs])
    language = _outermost([path for path, config in with_config.items() if type(config) is type(text)])
    head = vlm.get_output_embeddings()
    heads = [path for path, module in vlm.named_modules() if module is head]
    if not vision or not language or type(text) is type(vlm.config):
        missing = "language" if vision else "vision"
        children = ", ".join(name for name, _ in getattr(vlm, "model", vlm).named_children())
        raise ValueError(
            f"{type(vlm).__name__}: no {missing} part is found; its submodules are {children}. model.freeze and model.lora need a "
            "model whose config has a vision_config and a text_config, each with a submodule of its own."
        )
    return Anatomy(vision=vision, language=(*language, *heads))


def _outermost(paths: list[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if not any(path.startswith(other + ".") for other in paths))


def is_tied(vlm: PreTrainedModel) -> bool:
    """Whether the LM head and the embedding table are one tensor."""
    head, table = vlm.get_output_embeddings(), vlm.get_input_embeddings()
    return isinstance(head, nn.Module) and head.weight is table.weight
