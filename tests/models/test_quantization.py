"""model.quantization=nf4: which layers are in 4 bits, that they train, resume, are shared and merged, and what is refused."""

import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from exported_runs import export_of, run_of
from families.trials import settings_of
from families.whole_trial import whole_trial
from forking import Forking
from tiny_commands import train as train_here
from tiny_runs import Build
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig, PreTrainedModel

from vlm_rl.arm_hash import arm_of, vanilla_of
from vlm_rl.commands.build import build, composed, plain
from vlm_rl.commands.checks import refuse
from vlm_rl.datasets.row import Row
from vlm_rl.models.loading import load_model, load_pretrained, resolve
from vlm_rl.models.parts import sizes
from vlm_rl.models.precision import Quantization
from vlm_rl.models.quantization import dequantise

NF4 = "model.quantization=nf4"
needs_library = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs the extra nf4")


def load(name: str = "tiny", *, dtype: str = "float32", quantization: Quantization | None = "nf4") -> PreTrainedModel:
    return load_model(name, untrained=False, dtype=dtype, attention="sdpa", root_seed=0, quantization=quantization)


def by_transformers() -> BitsAndBytesConfig:
    """As a person without vlm-rl asks for the same base."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=["model.visual", "lm_head"],
    )


@pytest.fixture
def no_repacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU with AVX512-BF16 bitsandbytes alone would multiply in bfloat16, and fail for widths that are no multiple of 64."""
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)


def test_without_its_library_a_run_stops_before_it_starts_and_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sentence = re.escape("model.quantization=nf4 needs bitsandbytes, which is not installed here: pip install 'vlm-rl[nf4]'")
    with pytest.raises(ValueError, match=sentence):
        load()


def test_another_word_than_nf4_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"model\.quantization"):
        refuse("train", "settings", composed(["model.quantization=int8"]))


def test_null_is_as_before_there_was_the_key_and_nf4_is_another_arm_and_another_vanilla_model() -> None:
    null, nf4 = plain(composed([])), plain(composed([NF4]))
    older = null | {"model": {key: value for key, value in null["model"].items() if key != "quantization"}}
    for hash_of in (arm_of, vanilla_of):
        assert hash_of(null) == hash_of(older) != hash_of(nf4)


@needs_library
def test_the_layers_of_the_language_part_are_in_four_bits_as_transformers_would_have_them() -> None:
    ours = load().state_dict()
    theirs = AutoModelForImageTextToText.from_pretrained(resolve("tiny"), quantization_config=by_transformers()).state_dict()
    packed = {name.rpartition(".weight")[0] for name, tensor in ours.items() if tensor.dtype == torch.uint8}
    assert len({path for path in packed if path.endswith("_proj")}) == 21  # 7 in each of 3 layers
    assert not [path for path in packed if "language_model.layers" not in path]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@needs_library
def test_a_layer_multiplies_with_what_its_weights_are_when_they_are_made_plain_again() -> None:
    model = load()
    path = "model.language_model.layers.0.mlp.down_proj"
    layer, inputs = model.get_submodule(path), torch.randn(3, 384, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = layer.eval()(inputs)
        plain_layer = dequantise(model).get_submodule(path)
        torch.testing.assert_close(plain_layer(inputs), expected, atol=1e-6, rtol=1e-5)
    original = load_pretrained("tiny", dtype="float32", attention="sdpa").get_submodule(path).weight
    difference = (plain_layer.weight - original).norm() / original.norm()
    assert 0.05 < float(difference.detach()) < 0.12  # normal numbers lose 9 % to NF4


@needs_library
def test_the_table_of_parts_counts_numbers_and_not_bytes() -> None:
    packed, usual = sizes(load()), sizes(load(quantization=None))
    assert [row.total for row in packed] == [row.total for row in usual]
    assert [row.dtypes for row in packed] == [("float32",), ("float32",), ("float32", "uint8")]


@needs_library
@pytest.mark.parametrize(
    "words", [["model.lora=null"], ["model.lora.targets={vision: all, language: null}", "model.freeze=[connector]"]]
)
def test_weights_in_four_bits_are_not_trained_in_full(words: list[str]) -> None:
    with pytest.raises(Exception, match=r"model\.quantization: weights in 4 bits cannot be trained in full\. .*=all"):
        build(composed(["experiment=smoke", NF4, *words]))


@needs_library
@pytest.mark.slow
def test_experts_in_one_parameter_are_refused(family_folder: Callable[[str], Path]) -> None:
    with pytest.raises(Exception, match=r"Qwen3VLMoe\w+ is a mixture of experts .* bitsandbytes does not quantise"):
        build(composed([*settings_of("qwen3_vl_moe", family_folder("qwen3_vl_moe")), NF4]))


@needs_library
@pytest.mark.slow
def test_random_weights_may_be_in_four_bits_too(built: Build) -> None:
    policy = built("model.untrained=true", NF4, tremble=False).policy
    assert any(parameter.dtype == torch.uint8 for parameter in policy.vlm.parameters())


@needs_library
@pytest.mark.slow
def test_the_card_of_an_adapter_says_how_to_load_the_base_that_it_was_trained_on(built: Build, tmp_path: Path) -> None:
    run = run_of(built("study=s", NF4), tmp_path / "outputs/s/grpo/seed-0")
    card = (export_of(run, tmp_path / "adapter") / "README.md").read_text()
    assert 'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True' in card
    assert "float32, its language part in nf4" in card


@needs_library
@pytest.mark.slow
@pytest.mark.usefixtures("no_repacking")
def test_a_base_in_four_bits_goes_the_whole_way_as_others_do(
    family_folder: Callable[[str], Path], mixed_rows: list[Row], tmp_path: Path, forking: Forking
) -> None:
    """With gradient checkpointing: five steps, the same after a power cut, plain PEFT over the same base, merged weights."""

    def train(words: Sequence[str], folder: Path) -> None:
        train_here(forking, folder, *words)

    loading: dict[str, Any] = {"quantization_config": by_transformers()}
    trial = whole_trial(
        "qwen2_5_vl", family_folder("qwen2_5_vl"), mixed_rows, work=tmp_path, train=train, more=[NF4], loading=loading
    )
    assert trial.resumed_is_equal
    assert max(trial.forward, trial.engine, trial.features or 0.0, trial.plain_peft, trial.merged) < 1e-4
    assert trial.gradients < 1e-4
