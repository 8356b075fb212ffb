"""What benchmarks/memory_estimate.py estimates and measures: models from Qwen2.5-VL's architecture and what is asked of them."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from transformers import AutoConfig

from vlm_rl.datasets.row import Row
from vlm_rl.models.loading import load_processor, resolve
from vlm_rl.models.prompts import Prompts
from vlm_rl.preflight.workload import PromptSizes, Workload

FULL = ("model.lora=null", "model.optimization.learning_rate=1e-5")
SEEING = (*FULL, "model.freeze=[]")
BF16 = ("model.dtype=bfloat16",)
NF4 = ("model.quantization=nf4",)
SAVING = ("model.gradient_checkpointing=true",)
TEXT_3B = {
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
}
TEXT_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}
EYES = {"hidden_size": 1280, "intermediate_size": 3420, "depth": 32, "num_heads": 16, "fullatt_block_indexes": [7, 15, 23, 31]}
TEXT_SMALL = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}
EYES_SMALL = {"hidden_size": 256, "intermediate_size": 700, "depth": 6, "num_heads": 4, "fullatt_block_indexes": [2, 5]}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run whose memory is estimated and measured."""

    name: str
    overrides: tuple[str, ...] = ()
    folder: Callable[[Path], None] | None = None  # writes the model's config and processor; None: the tiny model
    picture: tuple[int, int] = (168, 112)
    num_words: int = 10
    max_new_tokens: int = 24
    batch_size: int = 8
    group_size: int = 2
    num_minibatches: int = 2
    micro_batch_tokens: int = 8192
    forward_batch_tokens: int = 32768
    num_threads: int = 1
    at: str = "tiny"  # model.name; the folder, once it is written


def qwen(text: dict[str, Any], vision: dict[str, Any], *, vocab: int, tied: bool = True) -> Callable[[Path], None]:
    """Writes Qwen2.5-VL's config in these sizes, with the tiny model's tokenizer and processor.

    `tied`: LM head and embedding table are one tensor, as in 3B and not in 7B.
    """

    def folder(path: Path) -> None:
        shutil.copytree(resolve("tiny"), path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors", "README.md"))
        config = AutoConfig.from_pretrained(path)
        eighth = text["hidden_size"] // text["num_attention_heads"] // 8
        more = {
            "vocab_size": vocab,
            "tie_word_embeddings": tied,
            "layer_types": ["full_attention"] * text["num_hidden_layers"],
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [eighth, eighth * 3 // 2, eighth * 3 // 2],
            },
        }
        for part, values in ((config.text_config, text | more), (config.vision_config, vision | {"window_size": 112})):
            for name, value in values.items():
                setattr(part, name, value)
        config.vision_config.out_hidden_size = text["hidden_size"]
        config.tie_word_embeddings = tied
        config.save_pretrained(path)

    return folder


REDUCED = partial(
    Case,
    folder=qwen(TEXT_SMALL, EYES_SMALL, vocab=32_000),
    picture=(448, 336),
    num_words=30,
    max_new_tokens=16,
    batch_size=4,
    micro_batch_tokens=600,
    forward_batch_tokens=1200,
)
REAL = partial(
    Case,
    picture=(1120, 896),
    num_words=200,
    max_new_tokens=512,
    batch_size=16,
    group_size=4,
    overrides=(*BF16, *SAVING, "model.lora.rank=64"),
)
CASES = {
    "tiny": [Case(name="tiny, LoRA"), Case(name="tiny, full", overrides=FULL), Case(name="tiny, vision too", overrides=SEEING)],
    "reduced": [
        REDUCED(name="reduced, LoRA bf16", overrides=BF16),
        REDUCED(name="reduced, LoRA bf16, checkpointing", overrides=(*BF16, *SAVING)),
        REDUCED(name="reduced, full float32", overrides=FULL),
        REDUCED(name="reduced, full bf16", overrides=(*FULL, *BF16)),
        REDUCED(name="reduced, vision too, checkpointing", overrides=(*SEEING, *SAVING)),
    ],
    "nf4": [  # needs the extra of that name
        REDUCED(name="reduced, LoRA over NF4, bf16", overrides=(*BF16, *NF4)),
        REDUCED(name="reduced, LoRA over NF4, bf16, checkpointing", overrides=(*BF16, *NF4, *SAVING)),
    ],
    "real": [
        REAL(name="3B, LoRA bf16, checkpointing", folder=qwen(TEXT_3B, EYES, vocab=151_936)),
        REAL(name="7B, LoRA bf16, checkpointing", folder=qwen(TEXT_7B, EYES, vocab=152_064, tied=False)),
    ],
}


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A white picture, told apart by its number."""

    key: str
    size: tuple[int, int]

    def load(self) -> Image.Image:
        """The picture."""
        return Image.new("RGB", self.size, "white")


def rows_of(case: Case) -> list[Row]:
    """Rows of one length, but for the first, which is a word shorter: so that there is padding."""
    texts = ["<image>Find AB" + " and" * (case.num_words - (i == 0)) + "." for i in range(case.batch_size)]
    return [
        Row(id=str(i), question=text, answer="1", solution="1", images=(Sheet(key=str(i), size=case.picture),))
        for i, text in enumerate(texts)
    ]


def overrides_of(case: Case) -> list[str]:
    """The command line of the case."""
    return [
        "experiment=smoke",
        "model.untrained=true",
        f"model.name={case.at}",
        f"model.optimization.micro_batch_tokens={case.micro_batch_tokens}",
        f"model.optimization.forward_batch_tokens={case.forward_batch_tokens}",
        f"dataset.max_new_tokens={case.max_new_tokens}",
        f"dataset.batch_size={case.batch_size}",
        f"dataset.source.train_rows={case.batch_size}",
        f"algorithm.group_size={case.group_size}",
        f"algorithm.num_minibatches={case.num_minibatches}",
        *case.overrides,
    ]


def workload_of(case: Case, cfg: DictConfig, *, on_gpu: bool) -> Workload:
    """The case in numbers; needs the processor, no weights."""
    dataset, rows = instantiate(cfg.dataset), rows_of(case)
    longest = max(
        Prompts(processor=load_processor(case.at, {}), dataset=dataset).lengths(rows), key=lambda length: length.total
    )
    return Workload(
        dataset=dataset,
        algorithm=instantiate(cfg.algorithm),
        prompts=PromptSizes(row=rows[-1], longest=longest, mean=longest),
        forward_batch_size=cfg.rollout.engine.forward_batch_size,
        num_ranks=1,
        on_gpu=on_gpu,
    )
