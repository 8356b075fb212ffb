"""`all` reaches every linear layer but heads and routers, and PEFT adapts what was chosen, though it rewrites some names."""

from pathlib import Path

import pytest
import torch
from families.build import build
from peft import PeftModel
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from vlm_rl.models import adapters
from vlm_rl.models.adapters import adapted
from vlm_rl.models.matrices import find_matrices
from vlm_rl.models.parts import Lora, find_parts, prepare, sizes
from vlm_rl.models.small_copy import make_loud, shrunk
from vlm_rl.models.targets import ALL, ALL_WITH_EXPERTS

PATTERN = "(q|k|v|o|gate|up|down)_proj"
TOKENS = torch.arange(3, 15)[None]


def small(model_type: str) -> PreTrainedModel:
    """Random weights, the same at each call."""
    config = shrunk(AutoConfig.for_model(model_type))
    text = config.get_text_config()
    if model_type == "qwen3_omni_moe_thinker":  # its defaults do not fit together when cut down
        rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3], "mrope_interleaved": True}
        text.hidden_size, text.head_dim, text.rope_parameters = 64, 16, rope
        text.num_attention_heads = text.num_key_value_heads = 2
    if model_type == "glm4v_moe":
        rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5}
        text.head_dim, text.rope_parameters = 16, rope
    torch.manual_seed(0)
    vlm: PreTrainedModel = AutoModelForImageTextToText.from_config(config).eval()
    make_loud(vlm)
    return vlm


def with_targets(vlm: PreTrainedModel, **targets: str) -> PeftModel:
    """Adapters that change something; the other parts frozen."""
    freeze = [part for part in ("vision", "connector", "language") if part not in targets]
    adapter = prepare(vlm, freeze=freeze, lora=Lora(rank=2, alpha=4, targets=targets), seed=0)
    assert adapter is not None
    generator = torch.Generator().manual_seed(1)
    for name, parameter in vlm.named_parameters():
        if ".lora_B." in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return adapter


@torch.no_grad()
def logits(model: torch.nn.Module) -> Tensor:
    found: Tensor = model(input_ids=TOKENS).logits
    return found


def layers_named(vlm: PreTrainedModel, *names: str) -> set[str]:
    """Linear layers of the language part with these last names."""
    part_of = find_parts(vlm).part_of
    linear = {path for path, module in vlm.named_modules() if isinstance(module, torch.nn.Linear)}
    return {path for path in linear if part_of(path) == "language" and path.rpartition(".")[-1] in names}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "targets", "experts"),
    [
        ("glm4v_moe", PATTERN, False),
        ("glm4v_moe", ALL_WITH_EXPERTS, True),
        ("qwen3_omni_moe_thinker", PATTERN, False),
        ("qwen3_omni_moe_thinker", "(q|k|v|o)_proj", False),
        ("qwen3_omni_moe_thinker", ALL_WITH_EXPERTS, True),
        ("qwen3_5_moe", ALL_WITH_EXPERTS, True),
        ("llama4", ALL_WITH_EXPERTS, True),
    ],
)
def test_what_was_meant_is_adapted_here_and_by_plain_peft_and_can_be_merged(
    model_type: str, targets: str, experts: bool, tmp_path: Path
) -> None:
    vlm = small(model_type)
    before, bare = find_matrices(vlm), logits(vlm)
    part_of = find_parts(vlm).part_of
    adapter = with_targets(vlm, language=targets)
    reached = adapted(vlm)
    assert set(reached.values()) == {2}
    assert all(part_of(path) == "language" for path in reached)
    held = {matrix.path for matrix in before if matrix.kind == "experts"}
    assert held
    assert (held <= set(reached)) == experts
    assert bool(held & set(reached)) == experts
    assert not {matrix.path for matrix in before if matrix.kind == "router"} & set(reached)
    ours = logits(vlm)
    assert (ours - bare).abs().max() > 0.1
    with adapter.disable_adapter():
        assert torch.equal(logits(vlm), bare)
    adapter.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(small(model_type), tmp_path)
    assert adapted(loaded.get_base_model()) == reached
    assert torch.equal(logits(loaded), ours)
    scale = max(1.0, float(ours.abs().max()))
    torch.testing.assert_close(logits(loaded.merge_and_unload()), ours, atol=2e-5 * scale, rtol=0)


def test_a_pattern_of_a_model_whose_names_peft_rewrites_reaches_the_layers_of_that_name(tmp_path: Path) -> None:
    vlm = AutoModelForImageTextToText.from_pretrained(build("glm4v_moe", tmp_path))
    expected = layers_named(vlm, "down_proj", "up_proj", "q_proj")
    # q, up and down of one plain layer and of two with experts, where up and down are those of the shared expert
    assert len(expected) == 3 * 3
    with_targets(vlm, language="(q|up|down)_proj")
    assert set(adapted(vlm)) == expected


@pytest.mark.slow
def test_experts_learn_the_same_with_and_without_gradient_checkpointing() -> None:
    vlm = small("qwen3_5_moe")
    with_targets(vlm, language=ALL_WITH_EXPERTS)
    vlm.train()

    def gradients() -> dict[str, Tensor]:
        vlm.zero_grad()
        vlm(input_ids=TOKENS).logits.log_softmax(-1)[..., 5].sum().backward()
        return {name: p.grad.clone() for name, p in vlm.named_parameters() if p.grad is not None}

    plain = gradients()
    assert set(plain) == {name for name, p in vlm.named_parameters() if p.requires_grad}
    vlm.gradient_checkpointing_enable({"use_reentrant": False})
    vlm.enable_input_require_grads()
    again = gradients()
    assert all(torch.equal(plain[name], again[name]) for name in plain)


def test_all_is_every_linear_layer_but_head_and_routers(tmp_path: Path) -> None:
    vlm = AutoModelForImageTextToText.from_pretrained(build("qwen3_5_moe", tmp_path))
    part_of = find_parts(vlm).part_of
    linear = {path for path, module in vlm.named_modules() if isinstance(module, torch.nn.Linear)}
    expected = {path for path in linear if part_of(path) == "language"} - {"lm_head"}
    with_targets(vlm, language=ALL)
    assert set(adapted(vlm)) == expected
    assert "model.language_model.layers.0.linear_attn.in_proj_qkv" in expected


@pytest.mark.slow
def test_a_router_that_is_a_linear_layer_is_left_out_and_a_gate_of_a_shared_expert_is_not() -> None:
    kinds = {matrix.path: matrix.kind for matrix in find_matrices(small("llama4"))}
    routers = {path for path, kind in kinds.items() if kind == "router"}
    assert routers
    assert all(path.endswith("feed_forward.router") for path in routers)
    kinds = {matrix.path: matrix.kind for matrix in find_matrices(small("qwen3_5_moe"))}
    assert kinds["model.language_model.layers.0.mlp.gate"] == "router"
    assert kinds["model.language_model.layers.0.mlp.shared_expert_gate"] == "linear"


@pytest.mark.slow
def test_the_rank_of_experts_is_that_of_each_expert() -> None:
    vlm = small("qwen3_5_moe")
    with_targets(vlm, language=ALL_WITH_EXPERTS)
    table = {size.part: size for size in sizes(vlm)}
    assert table["language"].state == "LoRA r=2"  # the matrix lora_A has 2 x 4 rows


def test_a_layer_that_torch_never_calls_gets_no_adapter() -> None:
    vlm = small("lfm2_vl")  # the pooling head of its SigLIP2 tower is torch's own attention
    with_targets(vlm, vision=ALL)
    assert not [path for path in adapted(vlm) if path.endswith("attention.out_proj") and "head" in path]


def test_adapters_on_other_layers_than_those_that_were_meant_are_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vlm = AutoModelForImageTextToText.from_pretrained(build("glm4v_moe", tmp_path))

    monkeypatch.setattr(adapters, "_spelled", lambda vlm, paths: adapters._Spelling(layers=["q_proj"], parameters=[]))
    with pytest.raises(ValueError, match=r"leaves layers without an adapter.*mlp.up_proj.*model.lora.targets, such as"):
        with_targets(vlm, language="(q|up)_proj")


def test_the_word_of_peft_for_all_layers_is_no_pattern_here_and_the_error_names_ours(tmp_path: Path) -> None:
    vlm = AutoModelForImageTextToText.from_pretrained(build("qwen2_vl", tmp_path))
    with pytest.raises(ValueError, match=r"language='all-linear' matches no linear layer.*; all takes every one"):
        with_targets(vlm, language="all-linear")
