"""How much of a part adapters reach, at the sizes that the classes of a family have by default; no weights are made."""

import io

import pytest
import torch
from rich.console import Console
from sight import tiny
from transformers import AutoConfig, AutoModelForImageTextToText

from vlm_rl.models.coverage import Coverage
from vlm_rl.models.parts import Lora, part_table, prepare, sizes

PATTERN = "(q|k|v|o|gate|up|down)_proj"


def language(model_type: str, targets: str) -> Coverage:
    with torch.device("meta"):
        vlm = AutoModelForImageTextToText.from_config(AutoConfig.for_model(model_type))
        prepare(vlm, freeze=["vision", "connector"], lora=Lora(rank=1, alpha=1, targets={"language": targets}), seed=0)
    found = {size.part: size.coverage for size in sizes(vlm)}
    assert found["vision"] is None
    assert found["language"] is not None
    return found["language"]


@pytest.mark.slow
def test_the_usual_pattern_misses_the_linear_attention_of_qwen3_5() -> None:
    found = language("qwen3_5", PATTERN)
    # 32 layers, every fourth with q, k, v, o; all with gate, up, down. The others: qkv, z, a, b and out
    assert (found.adapted_matrices, found.matrices) == (8 * 4 + 32 * 3, 8 * 4 + 32 * 3 + 24 * 5)
    hidden, mlp = 4096, 12288
    attention = hidden * (2 * 16 * 256 + 2 * 4 * 256 + 16 * 256)  # q with its gate, k and v, o
    linear = hidden * ((2 * 16 * 128 + 32 * 128) + 32 * 128 + 2 * 32 + 32 * 128)  # qkv, z, a and b, out
    assert found.adapted_weights == 8 * attention + 32 * 3 * hidden * mlp
    assert found.weights == found.adapted_weights + 24 * linear
    assert set(found.none_on) == {"in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj"}
    assert found.line.startswith(
        "language: adapters on 77 % of the weights in its matrices (128 of 248 matrices); none on: out_proj, "
    )


def test_the_usual_pattern_misses_the_fused_matrices_of_glm4v() -> None:
    found = language("glm4v", PATTERN)
    hidden, mlp = 4096, 13696
    reached = hidden * (32 * 128 + 2 * 2 * 128 + 32 * 128 + mlp)  # q, k and v, o, down
    assert (found.adapted_weights, found.weights) == (40 * reached, 40 * (reached + hidden * 2 * mlp))
    assert (found.adapted_matrices, found.matrices) == (40 * 5, 40 * 6)
    share = 45  # percent: 91,750,400 of 203,948,032 weights of a layer
    assert found.line == (
        f"language: adapters on {share} % of the weights in its matrices (200 of 240 matrices); none on: gate_up_proj."
    )


def test_the_usual_pattern_misses_nearly_all_of_lfm2_vl_and_all_reaches_all() -> None:
    found = language("lfm2_vl", PATTERN)
    assert " 12 % " in found.line
    assert found.line.endswith("none on: out_proj, w1, w3, w2.")
    every = language("lfm2_vl", "all")
    assert every.adapted_weights == every.weights == found.weights
    assert every.line == "language: adapters on 100 % of the weights in its matrices (224 of 224 matrices)."


@pytest.mark.slow
def test_experts_without_adapters_are_named_with_the_way_to_reach_them() -> None:
    found = language("qwen3_vl_moe", "all")
    # 24 layers: q, k, v, o, the router and two parameters of experts
    assert (found.adapted_matrices, found.matrices) == (24 * 4, 24 * 7)
    assert found.none_on == ("experts.gate_up_proj", "experts.down_proj", "mlp.gate")
    assert found.line.endswith(
        "none on: experts.gate_up_proj, experts.down_proj, mlp.gate. model.lora.targets.language=all+experts reaches experts too."
    )
    assert not language("qwen3_vl_moe", "all+experts").has_plain_experts


def test_the_line_stands_under_the_table_of_parts_and_the_manifest_holds_its_numbers() -> None:
    vlm = tiny()
    prepare(vlm, freeze=["vision", "connector"], lora=Lora(rank=1, alpha=1, targets={"language": "q_proj"}), seed=0)
    rows = sizes(vlm)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(part_table(rows, rates={"language": 1e-3}))
    text = " ".join(console.export_text().split())
    # each of 3 layers: q, k, v, o of 128 x 128 and three of 128 x 384
    assert "language: adapters on 8 % of the weights in its matrices (3 of 21 matrices)" in text
    (entry,) = (row.coverage.entry for row in rows if row.coverage is not None)
    assert entry == {
        "part": "language",
        "matrices": 21,
        "adapted_matrices": 3,
        "weights": 3 * (4 * 128 * 128 + 3 * 128 * 384),
        "adapted_weights": 3 * 128 * 128,
        "none_on": ["k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "has_plain_experts": False,
    }


@pytest.mark.slow
def test_an_audio_tower_counts_as_vision_and_is_named() -> None:
    with torch.device("meta"):
        vlm = AutoModelForImageTextToText.from_config(AutoConfig.for_model("qwen3_omni_moe_thinker"))
    assert {size.part: size.note for size in sizes(vlm)} == {"vision": "with audio_tower", "connector": "", "language": ""}
