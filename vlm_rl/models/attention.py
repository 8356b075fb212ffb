"""Which attention runs in each part of a model: model.attention, a word for all of it or a mapping of parts to words."""

import contextlib
import copy
from collections.abc import Iterator, Mapping

import torch
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

IMPLEMENTATIONS = ("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")
PLAIN = ("sdpa", "eager")  # they need no library and no GPU
PARTS = ("vision", "audio", "language")  # keys of a mapping
Attention = str | Mapping[str, str]


def portable(attention: Attention) -> Attention:
    """The same where no library and no GPU can be counted on: sdpa in the place of its faster relatives."""
    if isinstance(attention, str):
        return attention if attention in PLAIN else "sdpa"
    return {part: word if word in PLAIN else "sdpa" for part, word in attention.items()}


def by_config(attention: Attention, config: PreTrainedConfig) -> str | dict[str, str]:
    """As Transformers takes it: a word, or a word for each part's config. A part without a word gets sdpa.

    Raise ValueError for an unknown part or word.
    """
    words = [attention] if isinstance(attention, str) else list(attention.values())
    for word in words:
        if word not in IMPLEMENTATIONS:  # Transformers takes OWNER/NAME for a kernel of the hub, fetches it and runs it
            raise ValueError(
                f"model.attention={word} cannot be used here: it is none of {', '.join(IMPLEMENTATIONS)}, and kernels of the hub are "
                "never fetched. model.attention=sdpa needs nothing installed; eager works with every model."
            )
    if isinstance(attention, str):
        return attention
    if unknown := [part for part in attention if part not in PARTS]:
        raise ValueError(
            f"model.attention names {', '.join(unknown)}; the parts with an attention of their own are {', '.join(PARTS)}."
        )
    names = [name for name in config.sub_configs if getattr(config, name, None) is not None]
    return {"": attention.get("language", "sdpa")} | {name: attention.get(_part(name), "sdpa") for name in names}


def _part(name: str) -> str:
    """The part whose attention the config of this name has."""
    if "audio" in name:
        return "audio"
    return "language" if "text" in name else "vision"


@contextlib.contextmanager
def as_model_attention(attention: Attention, config: PreTrainedConfig) -> Iterator[None]:
    """Around building a model: raise ValueError naming model.attention, and what to type, where the attention cannot be used."""
    by_config(attention, config)
    try:
        yield
    except (ImportError, ValueError) as error:
        if _can_be_built(config, attention) or not _can_be_built(config, "eager"):
            raise
        raise ValueError(
            f"model.attention={attention} cannot be used here: {' '.join(str(error).split())} {_way_out(config, attention)}"
        ) from error


def _way_out(config: PreTrainedConfig, attention: Attention) -> str:
    """What to type instead: eager for the part that needs it alone, where there is one."""
    plain = portable(attention)
    words = dict.fromkeys(PARTS, plain) if isinstance(plain, str) else dict(plain)
    for part in PARTS:
        mapping = words | {part: "eager"}
        if _can_be_built(config, mapping):
            shown = ", ".join(f"{key}: {word}" for key, word in mapping.items() if word != "sdpa")
            return f"For this model type 'model.attention={{{shown}}}'." if attention == "sdpa" else _USUAL
    return _USUAL


_USUAL = "model.attention=sdpa needs nothing installed; eager works with every model."


def _can_be_built(config: PreTrainedConfig, attention: Attention) -> bool:
    """Whether Transformers builds the model, here without weights."""
    try:
        with torch.device("meta"):
            AutoModelForImageTextToText.from_config(copy.deepcopy(config), attn_implementation=by_config(attention, config))
    except (ImportError, ValueError):
        return False
    return True


def check_attention(vlm: PreTrainedModel, attention: Attention) -> None:
    """Raise ValueError where a part of the built model has another attention than was asked for."""
    wanted = by_config(attention, vlm.config)
    for name in ("", *vlm.config.sub_configs):
        part = getattr(vlm.config, name, None) if name else vlm.config
        word = wanted if isinstance(wanted, str) else wanted.get(name)
        found = getattr(part, "_attn_implementation", None)
        if part is not None and word is not None and found not in (None, word):
            raise ValueError(
                f"model.attention={attention}: {name or 'the model'} of {type(vlm).__name__} runs {found} and not {word}, which "
                "Transformers does not have for it. Write for each part what it runs: 'model.attention={audio: eager}'."
            )
