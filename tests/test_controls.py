"""Negative controls on the shipped model: without the right figure, or without learning, nothing may be gained."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tiny_runs import Hand, roll_out, small

from vlm_rl.commands.build import build, composed
from vlm_rl.evaluation.evaluator import accuracy

CHANCE = 0.08  # answers are two- or three-digit numbers: guessing the likeliest is right in a few of a hundred
QUESTIONS = 100


def evaluated(*overrides: str) -> pa.Table:
    """Validation under pass@1, T = 0.6, by the shipped model."""
    sizes = ["dataset.source.train_rows=128", f"dataset.source.val_rows={QUESTIONS}", "dataset.source.test_rows=10"]
    experiment = build(composed([*sizes, *overrides]))
    setting = experiment.evaluator.scheme.settings[1]
    try:
        return experiment.evaluator.evaluate(experiment.policy, split="val", setting=setting, epoch=0.0, generation_steps=0)
    finally:
        experiment.reward.close()


def accuracy_on(table: pa.Table, modality: str) -> float:
    """Accuracy on text-dominant or vision-dominant rows."""
    return accuracy(table.filter(pc.equal(table["modality"], modality)), k=1)


@pytest.mark.slow
def test_the_shipped_model_is_an_honest_beginner_that_reads_figures() -> None:
    table = evaluated()
    assert 0.30 <= accuracy(table, k=1) <= 0.70
    assert accuracy_on(table, "vision") >= 0.30


@pytest.mark.slow
@pytest.mark.parametrize("control", ["blank", "shuffled"])
def test_without_the_right_figure_vision_dominant_accuracy_falls_to_chance(control: str) -> None:
    table = evaluated(f"evaluation/image={control}")
    assert accuracy_on(table, "vision") <= CHANCE
    assert accuracy_on(table, "text") >= 0.25, "numbers in the question do not need the figure"


def test_the_shipped_model_is_at_most_eight_megabytes() -> None:
    folder = Path(__file__).parents[1] / "vlm_rl" / "models" / "tiny" / "weights"
    assert (folder / "model.safetensors").stat().st_size <= 8_000_000


def test_with_a_learning_rate_of_zero_every_answer_stays_the_same() -> None:
    experiment = small("model.optimization.learning_rate=0.0", "dataset.max_new_tokens=48", tremble=False)
    module, scheme = experiment.module, experiment.evaluator.scheme
    split, setting = scheme.cells[0]
    before = experiment.evaluator.evaluate(experiment.policy, split=split, setting=setting, epoch=0.0, generation_steps=0)
    hand = Hand(experiment)
    module._update.update(roll_out(experiment), experiment.policy, hand.stepper, step=0)
    after = experiment.evaluator.evaluate(experiment.policy, split=split, setting=setting, epoch=0.0, generation_steps=0)
    experiment.reward.close()
    assert hand.seen, "the optimizer stepped"
    assert after.equals(before)
