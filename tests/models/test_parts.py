import re

import pytest
import torch
from tiny_runs import Build, trained

from vlm_rl.models.parts import Lora, freeze, part_of, sizes
from vlm_rl.models.policy import Policy


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.visual.blocks.0.mlp.gate_proj.weight", "vision"),
        ("model.visual.merger.mlp.0.weight", "connector"),
        ("model.language_model.layers.0.mlp.gate_proj.weight", "language"),
        ("base_model.model.model.language_model.layers.1.self_attn.q_proj.lora_A.default.weight", "language"),
        ("lm_head.weight", "language"),
        ("vision_tower.encoder.layers.0.fc1.weight", "vision"),
        ("multi_modal_projector.linear_1.weight", "connector"),
    ],
)
def test_a_parameter_belongs_to_the_part_on_its_path(name: str, part: str) -> None:
    assert part_of(name) == part


def test_adapters_sit_on_the_language_part_alone_though_the_vision_mlps_have_the_same_names(policy: Policy) -> None:
    names = list(trained(policy))
    assert len(names) == 3 * 7 * 2  # layers x projections x two matrices
    assert all(".language_model.layers." in name and ".lora_" in name for name in names)
    assert all(parameter.dtype == torch.float32 for parameter in trained(policy).values())
    assert any(name.startswith("model.visual.blocks.0.mlp.gate_proj") for name, _ in policy.vlm.named_modules())


def test_the_pattern_matches_whole_layer_names() -> None:
    pattern = re.compile(Lora(rank=1, alpha=1, targets="(q|up)_proj").pattern)
    assert pattern.fullmatch("model.language_model.layers.0.self_attn.q_proj")
    assert not pattern.fullmatch("model.language_model.layers.0.self_attn.k_proj")
    assert not pattern.fullmatch("model.visual.blocks.0.mlp.up_proj")


def test_the_table_of_sizes_counts_every_parameter_once(policy: Policy) -> None:
    table = {size.part: size for size in sizes(policy.vlm)}
    assert sum(size.total for size in table.values()) == sum(p.numel() for p in policy.vlm.parameters())
    assert table["vision"].trainable == table["connector"].trainable == 0
    assert table["language"].trainable == sum(p.numel() for p in trained(policy).values())


def test_an_unknown_part_is_an_error_that_names_the_parts(policy: Policy) -> None:
    with pytest.raises(ValueError, match=r"unknown part.*vision, connector, language"):
        freeze(policy.vlm, ["head"])


def test_training_a_bfloat16_base_is_refused_with_the_two_ways_out(built: Build) -> None:
    with pytest.raises(Exception, match=r"model.dtype=float32, or keep LoRA") as refused:
        built("model.lora=null", "model.dtype=bfloat16")
    assert refused.value.__cause__ is None or isinstance(refused.value.__cause__, ValueError)


def test_lora_with_a_trained_vision_tower_is_refused(built: Build) -> None:
    with pytest.raises(Exception, match=r"model.freeze=\[vision,connector\]"):
        built("model.freeze=[vision]")
