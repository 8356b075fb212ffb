"""What a family is, for tests: how its tokenizer, processor and config are made. Sizes are far below the real ones."""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin

NUM_LAYERS = 3  # of the language part
TEXT_SIZES = {  # grouped queries: two heads share keys and values
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": NUM_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
SIGLIP_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family of Transformers in small."""

    tokenizer: Callable[[], PreTrainedTokenizerBase]
    processor: Callable[[PreTrainedTokenizerBase], ProcessorMixin]
    config: Callable[[PreTrainedTokenizerBase], PreTrainedConfig]
    stop_tokens: tuple[str, ...]  # of the generation config


def text_config(tokenizer: PreTrainedTokenizerBase, model_type: str, **more: object) -> dict[str, object]:
    """The language part's config, with the tokenizer's ids."""
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    return {"model_type": model_type, "vocab_size": len(tokenizer), **TEXT_SIZES, **ids, **more}
