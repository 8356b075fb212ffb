"""Writes the tiny VLM's folder without its weights (`experiment=tiny_pretrain`): `python benchmarks/tiny_model.py FOLDER`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from vlm_rl.datasets.micro_geometry.dataset import MicroGeometry
from vlm_rl.datasets.micro_geometry.solutions import SolutionStyle

NUM_MERGED_TOKENS = 512  # bytes and merges, special tokens not counted
PAPER_WHITE = 0.98  # mean of the pixels: paper is 0, so that strokes and not the sheet drive the first layers
PROMPT_TEXTS = ("Reason step by step. Put the final answer in \\boxed{}.", "user", "assistant", "system")
SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
CHAT_TEMPLATE = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}\n"
    "{%- if message.content is string -%}{{ message.content }}"
    "{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}<|im_end|>\n"
    "{% endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)


def _corpus() -> Iterator[str]:
    for split in ("train", "test"):
        style = SolutionStyle(corrected=0.2, uncorrected=0.2)
        for row in MicroGeometry(split=split, num_rows=4000, data_seed=0, solutions=style, carry_share=0.4):
            yield row.question.replace("<image>", "")
            yield row.solution or ""
            yield from PROMPT_TEXTS


def tokenizer() -> Qwen2Tokenizer:
    """A byte-level BPE with Qwen's pre-tokenizer (each digit on its own) and Qwen's special tokens, trained on the embedded data."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_MERGED_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator(_corpus(), trainer)
    merges = [tuple(merge) for merge in json.loads(bpe.to_str())["model"]["merges"]]
    made = Qwen2Tokenizer(
        vocab=bpe.get_vocab(), merges=merges, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None
    )
    made.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    return made


def config(tokens: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    """Qwen2.5-VL in small: language 3 layers of 128, vision 2 layers of 96, patch 14, merge 2."""
    ids = {name: tokens.convert_tokens_to_ids(name) for name in SPECIAL_TOKENS}
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokens),
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_heads": 4,
            "out_hidden_size": 128,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "fullatt_block_indexes": [0, 1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def write(folder: Path) -> None:
    """Write config, tokenizer, chat template and processor."""
    tokens = tokenizer()
    images = Qwen2VLImageProcessor(
        patch_size=14, merge_size=2, temporal_patch_size=2, image_mean=[PAPER_WHITE] * 3, image_std=[0.25] * 3
    )
    processor = Qwen2_5_VLProcessor(
        image_processor=images, tokenizer=tokens, video_processor=Qwen2VLVideoProcessor(), chat_template=CHAT_TEMPLATE
    )
    processor.save_pretrained(folder)
    made = config(tokens)
    made.architectures = ["Qwen2_5_VLForConditionalGeneration"]
    made.save_pretrained(folder)
    stop_ids = [tokens.convert_tokens_to_ids(name) for name in ("<|im_end|>", "<|endoftext|>")]
    GenerationConfig(eos_token_id=stop_ids, pad_token_id=stop_ids[1], do_sample=True).save_pretrained(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
