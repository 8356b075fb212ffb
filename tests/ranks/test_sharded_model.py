"""A model that is shared out over ranks learns what a whole one learns, and its checkpoints do not know how many ranks there were."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import sharded_programs
import torch
from forked import on_ranks
from forking import Forking
from peft import PeftModel
from sharded_programs import CHECKPOINT
from torch import Tensor
from transformers import AutoModelForImageTextToText

from vlm_rl.models.loading import resolve
from vlm_rl.models.trained_weights import assembled

LORA = ["model.lora.targets.language=all"]
# The tiny model's embeddings are tied. The learning rate: AdamW moves a weight whose gradient is all rounding as far as any other.
FULL = ["model.lora=null", "model.freeze=[]", "model.gradient_checkpointing=true", "model.optimization.learning_rate=1e-5"]
BF16 = ["model.dtype=bfloat16"]
SHARED = "trainer/strategy=fsdp2"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one rank has after its steps."""

    losses: list[float]
    norms: list[float]
    weights: dict[str, Tensor]  # all that is trained, whole
    share: float  # numbers of the model that this rank keeps, over all
    kinds: set[str]  # classes of the trained tensors between two steps


def ran(forking: Forking, folder: Path, case: str, overrides: list[str], *, num_ranks: int) -> list[Found]:
    """What each rank found."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(overrides, folder / "overrides.pt")
    return [Found(**rank) for rank in on_ranks(forking, sharded_programs.__file__, case, folder, num_ranks=num_ranks)]


def furthest(left: Found, right: Found) -> float:
    """The largest difference of losses, norms and weights, each in units of the largest."""
    assert left.weights.keys() == right.weights.keys()
    largest = max(float(weight.abs().max()) for weight in left.weights.values())
    weights = max(float((left.weights[name] - right.weights[name]).abs().max()) for name in left.weights) / largest
    norms = max(abs(a / b - 1) for a, b in zip(left.norms, right.norms, strict=True))
    losses = max(abs(a - b) for a, b in zip(left.losses, right.losses, strict=True))
    return max(weights, norms, losses)


@pytest.mark.slow
@pytest.mark.parametrize("trained", [LORA, FULL], ids=["adapters", "full"])
def test_five_steps_are_those_of_one_process(forking: Forking, tmp_path: Path, trained: list[str]) -> None:
    """Rows of unequal number and length, pictures of different sizes, and the reference's pass before each update."""
    (alone,) = ran(forking, tmp_path / "alone", "five_steps", trained, num_ranks=1)
    assert min(alone.norms) > 0
    for num_ranks, words in [(2, [SHARED]), (4, [SHARED]), (4, [])]:
        for rank in ran(forking, tmp_path / f"{num_ranks}{len(words)}", "five_steps", trained + words, num_ranks=num_ranks):
            assert furthest(rank, alone) <= 1e-5
            if words:
                assert rank.share <= (0.35 if num_ranks == 4 else 0.6)
                assert rank.kinds == ({"DTensor"} if trained == FULL else {"Tensor"})


@pytest.mark.slow
@pytest.mark.parametrize("trained", [LORA, FULL], ids=["adapters", "full"])
def test_in_bfloat16_a_model_that_is_shared_out_rounds_as_whole_copies_do(
    forking: Forking, tmp_path: Path, trained: list[str]
) -> None:
    """Two ranks with the same rows: nothing may differ but the order of sums over ranks."""
    shared, whole = (
        ran(forking, tmp_path / f"{len(words)}", "five_steps", trained + BF16 + words, num_ranks=2)[0]
        for words in ([SHARED], [])
    )
    print("bf16", furthest(shared, whole))
    assert furthest(shared, whole) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("saved", [[SHARED], []], ids=["shared out", "whole"])
def test_a_checkpoint_goes_on_over_any_number_of_ranks(forking: Forking, tmp_path: Path, saved: list[str]) -> None:
    """Full fine-tuning, saved on four ranks; on one rank and on two it goes on as the four do. What is exported is the same model."""
    four = ran(forking, tmp_path, "five_steps_and_one", FULL + saved, num_ranks=4)
    for num_ranks, words in ((1, []), (2, [SHARED])):
        for rank in ran(forking, tmp_path, "sixth_step", FULL + words, num_ranks=num_ranks):
            assert rank.kinds == ({"DTensor"} if words else {"Tensor"})
            print("sixth", num_ranks, words, furthest(rank, four[0]))
            assert furthest(rank, four[0]) <= 1e-5
    if saved:
        whole = assembled(tmp_path / CHECKPOINT)
        whole.save_pretrained(tmp_path / "exported")
        plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "exported")
        base = AutoModelForImageTextToText.from_pretrained(resolve("tiny"))
        moved = {name: float((weight - base.state_dict()[name]).abs().max()) for name, weight in plain.state_dict().items()}
        assert sum(change > 0 for change in moved.values()) > len(moved) / 2
        assert all(torch.equal(weight, whole.state_dict()[name]) for name, weight in plain.state_dict().items())


@pytest.mark.slow
def test_adapters_of_a_model_that_is_shared_out_are_in_pefts_format(forking: Forking, tmp_path: Path) -> None:
    four = ran(forking, tmp_path, "five_steps_and_one", [*LORA, SHARED], num_ranks=4)
    (alone,) = ran(forking, tmp_path, "sixth_step", LORA, num_ranks=1)
    assert furthest(alone, four[0]) <= 1e-5
    plain = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(resolve("tiny")), tmp_path / CHECKPOINT)
    changed = [weight for name, weight in plain.named_parameters() if "lora_B" in name]
    assert changed
    assert all(weight.abs().max() > 0 for weight in changed)
