"""Dropout in a model's config is off: training sees the probabilities that responses were sampled with."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families.trials import processed

from vlm_rl.datasets.row import Row
from vlm_rl.models.loading import load_pretrained, load_processor, load_untrained, resolve

LEAKY = ("attention_dropout", "hidden_dropout_prob", "projection_dropout")


def leaky(folder: Path, copy: Path) -> Path:
    """The same model whose config drops a tenth wherever its classes know how to."""
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        config[part] |= dict.fromkeys(LEAKY, 0.1)
    (copy / "config.json").write_text(json.dumps(config))
    return copy


def test_a_forward_in_training_mode_is_that_of_evaluation_on_every_family(
    family: str, family_folder: Callable[[str], Path], mixed_rows: list[Row], tmp_path: Path
) -> None:
    folder = str(leaky(family_folder(family), tmp_path / "model"))
    inputs = processed(load_processor(folder, {}), ["<image>What is AC?"], mixed_rows[1:2])
    vlm = load_pretrained(folder, dtype="float32", attention="eager")
    with torch.no_grad():
        assert torch.equal(vlm.train()(**inputs).logits, vlm.eval()(**inputs).logits)


def test_rates_that_are_set_to_0_are_printed_also_for_random_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_pretrained("tiny", dtype="float32", attention="sdpa")
    assert capsys.readouterr().out == ""
    folder = str(leaky(Path(resolve("tiny")), tmp_path / "model"))
    model = load_untrained(folder, dtype="float32", attention="sdpa", root_seed=0)
    assert model.config.text_config.attention_dropout == 0
    printed = capsys.readouterr().out
    assert "text_config.attention_dropout=0.1" in printed and "in its config set to 0: with dropout" in printed
