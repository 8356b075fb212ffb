"""Which layers get adapters, how PEFT writes that down, and that plain PEFT reads it back."""

import json
from pathlib import Path

import pytest
from families.build import build
from sight import tiny
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedModel

from vlm_rl.models.adapters import Lora, layer_name
from vlm_rl.models.parts import prepare, sizes


def lora(**targets: str) -> Lora:
    return Lora(rank=1, alpha=1, targets=targets)


def adapted(vlm: PreTrainedModel) -> set[str]:
    return {path for path, module in vlm.named_modules() if hasattr(module, "lora_A")}


def test_adapters_sit_on_the_language_part_alone_though_the_vision_mlps_have_the_same_names(tmp_path: Path) -> None:
    vlm = tiny()
    adapter = prepare(vlm, freeze=["vision", "connector"], lora=lora(language="(q|up)_proj"), seed=0)
    where = "model.language_model.layers"
    assert adapted(vlm) == {f"{where}.{i}.{name}" for i in range(3) for name in ("self_attn.q_proj", "mlp.up_proj")}
    assert adapter is not None
    adapter.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    path = r"model\.language_model\.layers\.\d+"
    assert config["target_modules"] == rf"{path}\.mlp\.(?:up_proj)|{path}\.self_attn\.(?:q_proj)"
    assert config["modules_to_save"] is None
    assert config["lora_dropout"] == 0


def test_a_layer_of_a_sequence_has_the_name_of_the_sequence_and_a_convolution_gets_no_adapter() -> None:
    assert layer_name("model.visual.merger.mlp.0") == "mlp.0"
    assert layer_name("model.language_model.layers.0.mlp.up_proj") == "up_proj"
    vlm = tiny()
    assert isinstance(vlm.get_submodule("model.visual.patch_embed.proj"), nn.Conv3d)
    prepare(vlm, freeze=["language"], lora=lora(vision="proj", connector=r"mlp\.2"), seed=0)
    assert adapted(vlm) == {*(f"model.visual.blocks.{i}.attn.proj" for i in range(2)), "model.visual.merger.mlp.2"}


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            {"vision": "q_proj"},
            r"model.lora.targets.vision='q_proj' matches no linear layer.*down_proj, gate_proj, proj, qkv, up_proj",
        ),
        ({"language": "(q_proj"}, r"model.lora.targets.language='\(q_proj' is no regular expression"),
        ({"language": ".*"}, r"matches embed_tokens and lm_head, but .* one tied tensor.* could not be merged"),
    ],
)
def test_a_pattern_that_cannot_work_is_an_error_that_says_why(targets: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(tiny(), freeze=[], lora=lora(**targets), seed=0)


def test_a_part_without_linear_layers_says_so(tmp_path: Path) -> None:
    vlm = AutoModelForImageTextToText.from_pretrained(build("gemma3", tmp_path))
    with pytest.raises(ValueError, match=r"matches no linear layer of this part. It has none: freeze it or train it in full"):
        prepare(vlm, freeze=["vision"], lora=lora(connector=".*", language="q_proj"), seed=0)


def test_a_lone_tensor_that_plain_peft_cannot_carry_stays_frozen_and_is_named(tmp_path: Path) -> None:
    vlm = AutoModelForImageTextToText.from_pretrained(build("llava_onevision", tmp_path))
    prepare(vlm, freeze=["vision"], lora=lora(language="q_proj"), seed=0)
    table = {size.part: size for size in sizes(vlm)}
    assert table["connector"].state == "full but model.image_newline"
    assert not vlm.model.image_newline.requires_grad
    whole = AutoModelForImageTextToText.from_pretrained(tmp_path)
    prepare(whole, freeze=["vision", "language"], lora=None, seed=0)
    assert whole.model.image_newline.requires_grad  # without adapters there is nothing in the way
