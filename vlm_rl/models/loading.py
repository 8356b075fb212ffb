"""Where a model comes from: a folder or a hub name with weights, or only its config with random weights.

A model's folder is read as data, never as code: safetensors, and code of Transformers only. Refused are a model that needs code
of its own, one saved as a pickle, an adapter without its base, and a folder with links to other places.
"""

import contextlib
import difflib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.processing_utils import TextKwargs
from transformers.utils import find_adapter_config_file

from vlm_rl.models.attention import Attention, as_model_attention, by_config, check_attention
from vlm_rl.models.chat_templates import check_templates
from vlm_rl.models.config_keys import check_keys, without_dropout
from vlm_rl.models.family import check_class, hold_statistics
from vlm_rl.models.folder_files import ADAPTER_CONFIG, WEIGHTS, check_adapter, check_files, read_object
from vlm_rl.models.precision import Quantization
from vlm_rl.models.quantization import check_library, quantise
from vlm_rl.models.weight_files import check_weight_files, read_model
from vlm_rl.randomness import forked_generator, stream_seed

PACKAGE = Path(__file__).parents[1]
TRAINER_STATE = "trainer_state.pt"  # of a checkpoint; callbacks/checkpoint.py reads it as data
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_COMPONENTS = {  # arguments that are no settings
    *("self", "kwargs", "args", "image_processor", "tokenizer", "video_processor", "feature_extractor"),
    "pretrained_model_name_or_path",
}
_OF_LOADING = {"use_fast", "backend", "subfolder"}  # AutoImageProcessor takes them out of its keyword arguments
_REFUSED = {  # what from_pretrained takes beside settings: code, secrets, and places on this machine or the net
    *("trust_remote_code", "code_revision", "token", "use_auth_token", "proxies", "endpoint", "config", "processor_class"),
    *("cache_dir", "local_dir", "gguf_file", "tokenizer_type", "auto_map", "pretrained_model_name_or_path", "state_dict"),
    *("vocab_file", "merges_file", "tokenizer_file", "tokenizer_object", "spm_file", "added_tokens_file", "chat_template_file"),
}


def resolve(name: str) -> str:
    """`tiny` is the model that the package ships; a folder or a hub name stays as it is."""
    return str(PACKAGE / "models" / "tiny" / "weights") if name == "tiny" else name


def load_config(name: str) -> PreTrainedConfig:
    """The config alone; a model whose code is not in Transformers is an error."""
    with _whole_model(name):
        config: PreTrainedConfig = AutoConfig.from_pretrained(resolve(name), trust_remote_code=False)
    check_keys(f"model.name={name}, config.json", vars(config))  # again: one of the hub was not here before
    if type(config) not in AutoModelForImageTextToText._model_mapping:
        raise ValueError(
            f"model.name={name} is a {config.model_type!r}, which Transformers has no image-text-to-text model for. "
            "Name a vision-language model, as in conf/model/."
        )
    return config


def load_processor(name: str, settings: Mapping[str, Any]) -> ProcessorMixin:
    """The model's own processor with `model.processor` as further arguments, padding on the left."""
    check_reach(settings)
    with _whole_model(name), _readable_tokenizer(name):
        processor: ProcessorMixin = AutoProcessor.from_pretrained(resolve(name), trust_remote_code=False, **settings)
    if not hasattr(processor, "image_processor"):
        raise ValueError(
            f"model.name={name} has no image processor beside its tokenizer: preprocessor_config.json is missing there."
        )
    check_settings(processor, settings)
    check_templates(name, Path(resolve(name)), processor)
    processor.tokenizer.padding_side = "left"
    return processor


def load_pretrained(name: str, *, dtype: str, attention: Attention) -> PreTrainedModel:
    """Weights from safetensors only, no remote code. Raise ValueError where the files lack weights of the model or have others."""
    with _whole_model(name):
        check_weights(Path(resolve(name)))
    config = without_dropout(load_config(name), name=name)
    with as_model_attention(attention, config):
        words = by_config(attention, config)
        model = read_model(
            f"model.name={name}", resolve(name), dtype=getattr(torch, dtype), config=config, attn_implementation=words
        )
    return _checked(model, name=name, attention=attention)


def _checked(model: PreTrainedModel, *, name: str, attention: Attention) -> PreTrainedModel:
    """The built model, if it is one that the loop can train; norms keep their statistics from here on."""
    check_class(model, name=name)
    check_attention(model, attention)
    hold_statistics(model)
    return model


def check_weights(folder: Path) -> None:
    """Check a local folder of a model or an adapter before its weights are read. Raise ValueError or FileNotFoundError where it has
    only pickles, which can run code, damaged files, links to other places, or settings that run code."""
    if not folder.is_dir():
        return
    _check_folder(folder)
    if (file := folder / ADAPTER_CONFIG).is_file():
        check_adapter(file)
    places = [folder, folder / WEIGHTS]
    for place in places:
        check_weight_files(place)
    if any(any(place.glob("*.safetensors")) for place in places):
        return
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern) if file.name != TRAINER_STATE)
    if pickles:
        raise ValueError(
            f"{folder} has its weights in {pickles[0]}, a pickle, which can run any code when it is opened. "
            "Save them as safetensors (save_pretrained does) where you trust them."
        )
    raise FileNotFoundError(f"{folder} holds no weights: no *.safetensors there. Copy or download the whole model again.")


def _check_folder(folder: Path) -> None:
    check_files(folder)
    if (file := folder / "config.json").is_file():
        check_keys(str(file), read_object(file))


@contextlib.contextmanager
def _whole_model(name: str) -> Iterator[None]:
    """Around reading anything of a model: raise ValueError for a LoRA adapter, in a folder or on the hub, naming what to do instead."""
    folder = Path(resolve(name))
    if folder.is_dir():
        _check_folder(folder)
        if (file := folder / ADAPTER_CONFIG).is_file():
            raise ValueError(_is_adapter(name, file))
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"model.name={name}: there is no config.json in {folder}. Name the folder that save_pretrained wrote."
            )
    try:
        yield
    except (OSError, ValueError) as error:
        found = None if folder.is_dir() else find_adapter_config_file(name)
        if found is None:
            raise
        raise ValueError(_is_adapter(name, Path(found))) from error


@contextlib.contextmanager
def _readable_tokenizer(name: str) -> Iterator[None]:
    """Raise ValueError naming the files: the library tokenizers raises Exception itself, and Transformers KeyError, without them."""
    try:
        yield
    except Exception as error:
        if type(error) not in (Exception, KeyError):
            raise
        raise ValueError(
            f"model.name={name}: the tokenizer cannot be read; tokenizer.json or tokenizer_config.json is damaged ({error!r}). "
            "Copy or download these files again."
        ) from None


def _is_adapter(name: str, file: Path) -> str:
    base = read_object(file).get("base_model_name_or_path")
    return (
        f"model.name={name} is an adapter ({ADAPTER_CONFIG} is there) of {base}, not a whole model. A run is evaluated or exported by its "
        "own name: `python evaluate.py checkpoint=RUN`. To begin from what it learned, `python export.py checkpoint=RUN merge=true "
        "folder=MERGED` and then model.name=MERGED."
    )


def load_untrained(name: str, *, dtype: str, attention: Attention, root_seed: int) -> PreTrainedModel:
    """The architecture of `name` with random weights from a stream of the root seed; what pretraining starts from."""
    config = without_dropout(load_config(name), name=name)
    with as_model_attention(attention, config), forked_generator(stream_seed(root_seed, "model_initialisation")):
        model: PreTrainedModel = AutoModelForImageTextToText.from_config(
            config, dtype=getattr(torch, dtype), attn_implementation=by_config(attention, config)
        )
    return _checked(model, name=name, attention=attention)


def load_model(
    name: str, *, untrained: bool, dtype: str, attention: Attention, root_seed: int, quantization: Quantization | None = None
) -> PreTrainedModel:
    """A model with its weights, or with random ones; in 4 bits where that is asked."""
    check_library(quantization)
    if untrained:
        model = load_untrained(name, dtype=dtype, attention=attention, root_seed=root_seed)
    else:
        model = load_pretrained(name, dtype=dtype, attention=attention)
    return model if quantization is None else quantise(model)


def check_reach(settings: Mapping[str, object]) -> None:
    """Raise ValueError, before anything is loaded, for a key that names code, secrets or files outside of the model."""
    for key, value in settings.items():
        if key in _REFUSED or key.startswith("_"):
            raise ValueError(
                f"model.processor.{key}: not a setting of a processor, but of where code, files or secrets come from. Leave it out; the "
                "hub's client reads HF_TOKEN, HF_HOME and HTTPS_PROXY from the environment."
            )
        if key == "subfolder" and (PurePath(str(value)).is_absolute() or ".." in PurePath(str(value)).parts):
            raise ValueError(f"model.processor.subfolder={value} leads out of the model. Name a folder inside of it.")


def check_settings(processor: ProcessorMixin, settings: Mapping[str, object]) -> None:
    """Raises ValueError for a key that neither image processor, tokenizer nor processor takes."""
    images, tokenizer = processor.image_processor, processor.tokenizer
    declared = getattr(getattr(images, "valid_kwargs", None), "__annotations__", {})
    of_images = {*declared, *(key for key in vars(images) if not key.startswith("_"))} - {"image_processor_type"}
    of_text = {"model_max_length", *getattr(tokenizer, "SPECIAL_TOKENS_ATTRIBUTES", []), *TextKwargs.__annotations__}
    taken = [
        set(inspect.signature(made).parameters) for made in (type(tokenizer), type(processor), ProcessorMixin.from_pretrained)
    ]
    known = of_images | of_text | (set().union(*taken) - _COMPONENTS) | _OF_LOADING
    for key in (key for key in settings if key not in known):
        near = difflib.get_close_matches(key, sorted(known), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"For images it has {', '.join(sorted(of_images))}."
        raise ValueError(
            f"model.processor.{key}: {type(processor).__name__} with {type(processor.image_processor).__name__} has no such setting. {hint}"
        )
