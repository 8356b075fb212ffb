"""Which model can be trained on which card, by preflight's estimate: `python benchmarks/small_cards.py [3B|7B|32B ...]`, no GPU needed.

Shapes are those of Qwen2.5-VL with no weights. A generation step has 4 questions with a picture of 1,120 x 896 and 8 responses of 512
tokens each; 8 sequences are sampled at a time and one is trained at a time (some 2,000 tokens). Adapters have rank 64; there is a KL
term, so full fine-tuning keeps a copy of the base. It writes the table of docs/preflight.md. Nothing of it was run on a GPU.
"""

import sys
import tempfile
from collections.abc import Sequence

from memory_cases import BF16, EYES, FULL, NF4, REAL, SAVING, TEXT_3B, TEXT_7B, Case, overrides_of, qwen
from memory_estimate import GIB, estimated, prepared

from vlm_rl.commands.build import composed
from vlm_rl.preflight import phase as names
from vlm_rl.preflight.estimate_page import TIGHT
from vlm_rl.preflight.phase import Phase

TEXT_32B = {
    "hidden_size": 5120,
    "intermediate_size": 27648,
    "num_hidden_layers": 64,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
}
MODELS = {
    "3B": qwen(TEXT_3B, EYES, vocab=151_936),
    "7B": qwen(TEXT_7B, EYES, vocab=152_064, tied=False),
    "32B": qwen(TEXT_32B, EYES | {"intermediate_size": 3456}, vocab=152_064, tied=False),
}
LORA = "model.lora.rank=64"
STEP = ("algorithm.kl_loss_coef=0.01", "rollout.engine.forward_batch_size=8")
FULLY = "in full, checkpointing"
WAYS = {
    FULLY: (*FULL, *BF16, *SAVING),
    "LoRA": (LORA, *BF16),
    "LoRA, checkpointing": (LORA, *BF16, *SAVING),
    "LoRA over NF4, checkpointing": (LORA, *BF16, *NF4, *SAVING),
}
CARDS = (24, 48, 80, 141)  # GB, of 10^9 bytes


def case_of(model: str, way: str) -> Case:
    """One line of the table."""
    return REAL(
        name=f"{model}, {way}",
        folder=MODELS[model],
        overrides=(*WAYS[way], *STEP),
        batch_size=4,
        group_size=8,
        num_minibatches=2,
        micro_batch_tokens=2048,
        forward_batch_tokens=2048,
    )


def fits(num_bytes: int, *, card: int) -> str:
    """In the words of preflight: from 90 % on what is not counted may decide."""
    share = num_bytes / (card * 10**9)
    return "yes" if share <= TIGHT else "tight" if share <= 1 else "no"


def line_of(model: str, way: str, phases: Sequence[Phase]) -> str:
    """A line of the table, in Markdown."""
    largest = max(phases, key=lambda phase: phase.total)
    sizes = (largest.parts[names.WEIGHTS] / GIB, largest.total / GIB)
    cells = (model, way, *(f"{size:.1f}" for size in sizes), largest.name, *(fits(largest.total, card=card) for card in CARDS))
    return f"| {' | '.join(cells)} |"


def main(models: Sequence[str]) -> None:
    """Prints the table, each line as soon as it is known."""
    print(f"| model | trained | weights, GiB | peak, GiB | in phase | {' | '.join(f'{card} GB' for card in CARDS)} |")
    print(f"|{'---|' * (5 + len(CARDS))}")
    for model in models or MODELS:
        for way in WAYS:
            if (model, way) == ("32B", FULLY):  # over 600 GB of weights, gradients and states
                continue
            with tempfile.TemporaryDirectory() as folder:
                case = prepared(case_of(model, way), folder)
                print(line_of(model, way, estimated(case, composed(overrides_of(case)), on_gpu=True)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
