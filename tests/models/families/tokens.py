"""Tokenizers of the model families: the shipped tiny vocabulary with each family's own special tokens and BOS habit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.processors import TemplateProcessing
from transformers import GemmaTokenizer, PreTrainedTokenizerBase, Qwen2Tokenizer, TokenizersBackend

from vlm_rl.models.loading import resolve

SHIPPED = Path(resolve("tiny"), "tokenizer.json")


def _shipped() -> dict[str, Any]:
    """The tiny tokenizer without the special tokens of Qwen."""
    loaded: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"))
    loaded["added_tokens"] = []
    return loaded


def _special(tokens: Sequence[str]) -> dict[str, list[str | AddedToken]]:
    return {"additional_special_tokens": [AddedToken(token, normalized=False, special=True) for token in tokens]}


def qwen_like(
    tokens: Sequence[str],
    *,
    eos: str,
    pad: str,
    named: dict[str, str] | None = None,
    made_by: type[TokenizersBackend] = Qwen2Tokenizer,
) -> PreTrainedTokenizerBase:
    """Qwen's class, no BOS; `named` become attributes of the tokenizer, as InternVL's processor needs them."""
    model = _shipped()["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    made = made_by(
        vocab=model["vocab"], merges=merges, eos_token=eos, pad_token=pad, unk_token=None, extra_special_tokens=named or {}
    )
    made.add_special_tokens(_special([t for t in tokens if t not in (named or {}).values()]))
    return made


def llama_like(
    tokens: Sequence[str], *, eos: str, pad: str, bos: str | None, writes_bos: bool, named: dict[str, str] | None = None
) -> PreTrainedTokenizerBase:
    """The plain class of most families; some tokenizers, as Llama 3's below Idefics3, write BOS themselves, some have none."""
    raw = Tokenizer.from_str(json.dumps(_shipped()))
    raw.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokens])
    if writes_bos:
        raw.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, raw.token_to_id(bos))])
    made = TokenizersBackend(
        tokenizer_object=raw, eos_token=eos, pad_token=pad, bos_token=bos, extra_special_tokens=named or {}
    )
    made.add_special_tokens(_special(tokens))
    return made


def _as_gemma(piece: str) -> str | None:
    """A piece in GPT-2's byte letters as Gemma writes it: the text itself, a space as U+2581; None for half a character."""
    text: str = decoders.ByteLevel().decode([piece])
    return None if "\ufffd" in text else text.replace(" ", "\u2581")


def gemma_like(tokens: Sequence[str], *, named: dict[str, str]) -> PreTrainedTokenizerBase:
    """Gemma's class: text pieces, bytes as <0x41> where no piece fits, BOS written by the tokenizer."""
    model = _shipped()["model"]
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [piece for piece in map(_as_gemma, model["vocab"]) if piece is not None]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    pairs = [(_as_gemma(left), _as_gemma(right)) for left, right in model["merges"]]
    merges = [(left, right) for left, right in pairs if left and right]
    made = GemmaTokenizer(vocab=vocab, merges=merges, extra_special_tokens=named, add_bos_token=True)
    made.add_special_tokens(_special([t for t in tokens if t not in named.values()]))
    return made
