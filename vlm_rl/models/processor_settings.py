"""The keys of `model.processor`: Transformers passes over one that no class knows, so a typo would change nothing in silence."""

import difflib
import inspect
from collections.abc import Mapping
from pathlib import PurePath

from transformers import ProcessorMixin
from transformers.processing_utils import TextKwargs

_COMPONENTS = {"self", "kwargs", "args", "image_processor", "tokenizer", "video_processor", "feature_extractor"}
_OF_LOADING = {"use_fast", "backend", "subfolder"}  # AutoImageProcessor takes them out of its keyword arguments


_BEYOND = {  # what from_pretrained takes beside settings: code, secrets, and places on this machine or the net
    *("trust_remote_code", "code_revision", "token", "use_auth_token", "proxies", "endpoint", "config", "processor_class"),
    *("cache_dir", "local_dir", "gguf_file", "tokenizer_type", "auto_map", "pretrained_model_name_or_path", "state_dict"),
    *("vocab_file", "merges_file", "tokenizer_file", "tokenizer_object", "spm_file", "added_tokens_file", "chat_template_file"),
}


def check_reach(settings: Mapping[str, object]) -> None:
    """Raises ValueError, before anything is loaded, for a key that does more than to set how the model's own files are used."""
    for key, value in settings.items():
        if key in _BEYOND or key.startswith("_"):
            raise ValueError(
                f"model.processor.{key}: not a setting of a processor, but of where code, files or secrets come from. Leave it out; the "
                "hub's client reads HF_TOKEN, HF_HOME and HTTPS_PROXY from the environment."
            )
        if key == "subfolder" and (PurePath(str(value)).is_absolute() or ".." in PurePath(str(value)).parts):
            raise ValueError(f"model.processor.subfolder={value} leads out of the model. Name a folder inside of it.")


def check_settings(processor: ProcessorMixin, settings: Mapping[str, object]) -> None:
    """Raises ValueError for a key that neither image processor, tokenizer nor processor takes."""
    of_images = _of_images(processor)
    known = of_images | _of_text(processor) | _of(type(processor)) | _of_loading()
    for key in settings:
        if key in known:
            continue
        near = difflib.get_close_matches(key, sorted(known), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"For images it has {', '.join(sorted(of_images))}."
        raise ValueError(
            f"model.processor.{key}: {type(processor).__name__} with {type(processor.image_processor).__name__} has no such setting. {hint}"
        )


def _of_images(processor: ProcessorMixin) -> set[str]:
    images = processor.image_processor
    declared = getattr(getattr(images, "valid_kwargs", None), "__annotations__", {})
    return {*declared, *(key for key in vars(images) if not key.startswith("_"))} - {"image_processor_type"}


def _of_text(processor: ProcessorMixin) -> set[str]:
    special = getattr(processor.tokenizer, "SPECIAL_TOKENS_ATTRIBUTES", [])
    return {"model_max_length", *special, *TextKwargs.__annotations__, *_of(type(processor.tokenizer))}


def _of(kind: type) -> set[str]:
    return set(inspect.signature(kind).parameters) - _COMPONENTS


def _of_loading() -> set[str]:
    named = inspect.signature(ProcessorMixin.from_pretrained).parameters
    return {key for key in named if key != "pretrained_model_name_or_path"} - _COMPONENTS | _OF_LOADING
