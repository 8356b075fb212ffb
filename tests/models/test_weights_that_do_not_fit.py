"""Weights are taken whole or not at all: what a file lacks is not drawn at random, what it has besides is not left out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import Build, trained, trembling
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedModel

from vlm_rl.models.loading import load_pretrained, resolve
from vlm_rl.models.policy import Policy
from vlm_rl.models.trained_weights import check_adapter_of, with_adapter

pytestmark = pytest.mark.slow
Tensors = dict[str, Tensor]
Change = Callable[[Tensors], Tensors]
Q = "model.layers.1.self_attn.q_proj.weight"  # in the tiny model's own file, which has the layout of old
WEIGHTS, ADAPTER = "model.safetensors", "adapter_model.safetensors"


def rewritten(file: Path, change: Change) -> None:
    """A file with other tensors in it."""
    save_file({name: tensor.contiguous() for name, tensor in change(load_file(file)).items()}, file, metadata={"format": "pt"})


def without(part: str) -> Change:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name}


def renamed(old: str, new: str) -> Change:
    return lambda tensors: {name.replace(old, new): tensor for name, tensor in tensors.items()}


def put(part: str, make: Callable[[Tensor], Tensor]) -> Change:
    """The first tensor whose name has that part, otherwise."""

    def change(tensors: Tensors) -> Tensors:
        name = min(name for name in tensors if part in name)
        return tensors | {name: make(tensors[name])}

    return change


def with_number(number: float) -> Callable[[Tensor], Tensor]:
    return lambda tensor: torch.cat([torch.full((1,), number, dtype=tensor.dtype), tensor.flatten()[1:]]).view(tensor.shape)


def besides(**more: Tensor) -> Change:
    return lambda tensors: tensors | {name.replace("__", "."): tensor for name, tensor in more.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny model to spoil."""
    return Path(shutil.copytree(resolve("tiny"), tmp_path / "model"))


def load(folder: Path, dtype: str = "float32") -> PreTrainedModel:
    return load_pretrained(str(folder), dtype=dtype, attention="sdpa")


UNFIT: dict[str, tuple[Change, str]] = {
    "a layer": (without(".layers.1."), r"it lacks: 12 \(model\.language_model\.layers\.1\..*\.\.\.\)"),
    "one more layer": (
        lambda tensors: tensors | {n.replace("layers.1.", "layers.3."): t.clone() for n, t in tensors.items() if "layers.1." in n},
        r"does not have: 12 \(model\.language_model\.layers\.3",
    ),
    "narrow": (put("q_proj.weight", lambda t: t[:64]), r"another shape: 1 \(.*weight is \[64, 128\] there, \[128"),
    "leftovers": (besides(model__layers__0__mlp__up_proj__weight_scale=torch.ones(1)), r"does not have: 1 \(.*weight_scale\)"),
    "codes": (put("q_proj.weight", lambda t: t.to(torch.int8)), r"q_proj\.weight is in I8, the codes of a quantised model"),
    "nan": (put("q_proj.weight", with_number(float("nan"))), r"holds NaN or infinite numbers, in tensors: 1 \(.*q_proj\.weight\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFIT)
def test_a_base_that_does_not_fit_is_refused_with_names_and_file(folder: Path, case: str) -> None:
    change, told = UNFIT[case]
    rewritten(folder / WEIGHTS, change)
    with pytest.raises(ValueError, match=told) as caught:
        load(folder)
    assert str(folder / WEIGHTS) in str(caught.value)


FIT: dict[str, Change] = {
    "as it is": lambda tensors: tensors,
    "the layout of new": renamed("model.layers", "model.language_model.layers"),
    "a head that equals the table": lambda t: t | {"lm_head.weight": next(v for k, v in t.items() if "embed_tokens" in k).clone()},
    "frequencies of old": besides(model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(8)),
}  # fmt: skip


@pytest.mark.parametrize("case", FIT)
def test_what_transformers_rightly_does_without_or_leaves_out_is_fine(folder: Path, case: str) -> None:
    rewritten(folder / WEIGHTS, FIT[case])
    model = load(folder)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    whole = load(Path(resolve("tiny"))).state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, whole[name], atol=0.02, rtol=0.02)


def test_numbers_that_are_too_large_for_the_dtype_are_told_with_one_that_holds_them(folder: Path) -> None:
    rewritten(folder / WEIGHTS, put("up_proj.weight", with_number(1e6)))
    load(folder)
    with pytest.raises(ValueError, match=r"infinite numbers.* As float16: .*model\.dtype=bfloat16"):
        load(folder, dtype="float16")


def test_a_model_in_pieces_needs_each_piece_and_each_tensor_of_its_index(folder: Path) -> None:
    load(folder).save_pretrained(folder, max_shard_size="4MB")
    (folder / WEIGHTS).unlink()
    load(folder)
    index = folder / "model.safetensors.index.json"
    whole = json.loads(index.read_text())["weight_map"]
    second = {name: file for name, file in whole.items() if file != min(whole.values())}
    for weight_map, message in (
        (whole | {"more": max(whole.values())}, r"index\.json says that more is in model-.*\.safetensors, but .* not hold"),
        (second, r"index\.json does not fit the model: .* it lacks: \d+"),  # the other piece is there, and no word of it
    ):
        index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        with pytest.raises(ValueError, match=message):
            load(folder)
    index.write_text(json.dumps({"metadata": {}, "weight_map": whole}))
    (folder / min(whole.values())).unlink()
    with pytest.raises(FileNotFoundError, match=r"names model-.*\.safetensors, which is not there"):
        load(folder)


@pytest.fixture(scope="module")
def teacher(built: Build) -> Policy:
    """Adapters on the language part and a connector in full, none of them zero."""
    return built("model.freeze=[vision]").policy


@pytest.fixture
def saved(teacher: Policy, tmp_path: Path) -> Path:
    """Its checkpoint, to spoil."""
    teacher.save(tmp_path / "step")
    return tmp_path / "step"


def settings(**changes: object) -> Callable[[Path], None]:
    """Other keys in the adapter's config."""

    def change(folder: Path) -> None:
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def tensors(change: Change) -> Callable[[Path], None]:
    return lambda folder: rewritten(folder / ADAPTER, change)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "another layout": (tensors(renamed("language_model.", "")), r"lacks: 42 \(.*language_model.*not have: 42 \(.*\.model\.layers"),
    "the second matrices": (tensors(without("lora_B")), r"it lacks: 21 \(.*lora_B\.weight"),
    "another rank": (tensors(put("q_proj.lora_A", lambda t: t[:8])), r"another shape: 1 \(.*lora_A\.weight is \[8, 128\]"),
    "nan": (tensors(put("q_proj.lora_B", with_number(float("nan")))), r"holds NaN or infinite numbers, in tensors: 1 \(.*q_proj\.lora_B"),
    "no file": (lambda folder: (folder / ADAPTER).rename(folder / "other.safetensors"), r"adapter_model\.safetensors is not there"),
    "cut": (lambda folder: (folder / ADAPTER).write_bytes((folder / ADAPTER).read_bytes()[:-9]), r"adapter_model\.safetensors is cut off"),
}  # fmt: skip
OF_CONFIG: dict[str, tuple[Callable[[Path], object], str]] = {
    "alpha": (settings(lora_alpha=64), r"adapter_config\.json: lora_alpha=64, where the run's model\.lora makes it 32"),
    "rank": (settings(r=8), r"adapter_config\.json: r=8, where the run's model\.lora makes it 16"),
    "no config": (lambda folder: (folder / "adapter_config.json").unlink(), r"adapter_config\.json is not there"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*SPOILT, *OF_CONFIG])
def test_an_adapter_that_does_not_fit_is_refused_and_changes_nothing(teacher: Policy, saved: Path, case: str) -> None:
    spoil, told = (SPOILT | OF_CONFIG)[case]
    spoil(saved)
    before = {name: parameter.clone() for name, parameter in trained(teacher).items()}
    with pytest.raises((ValueError, FileNotFoundError), match=told) as caught:
        teacher.load(saved)
    assert str(saved) in str(caught.value)
    assert all(torch.equal(parameter, before[name]) for name, parameter in trained(teacher).items())


@pytest.mark.parametrize("case", ["another layout", "cut"])
def test_it_is_refused_for_merging_and_for_sharing_too(saved: Path, case: str) -> None:
    spoil, told = SPOILT[case]
    spoil(saved)
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        with_adapter(load(Path(resolve("tiny"))), saved)
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        check_adapter_of("tiny", saved)


def test_a_config_of_other_adapters_is_refused_where_they_are_made_from_it(saved: Path) -> None:
    settings(target_modules=["none_such"])(saved)
    with pytest.raises(ValueError, match=r"does not fit"):
        check_adapter_of("tiny", saved)


def test_an_adapter_in_half_precision_is_taken(built: Build, teacher: Policy, saved: Path) -> None:
    rewritten(saved / ADAPTER, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    other = built("model.freeze=[vision]", tremble=False).policy
    other.load(saved)
    check_adapter_of("tiny", saved)
    ours = trained(teacher)
    for name, parameter in trained(other).items():
        assert parameter.dtype == torch.float32
        torch.testing.assert_close(parameter, ours[name], atol=1e-3, rtol=1e-3)


def test_an_adapter_on_an_untied_head_which_peft_saves_with_the_head_is_taken(
    built: Build, family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    words = ("model=qwen2_5_vl_3b", f"model.name={family_folder('qwen2_5_vl')}", "model.dtype=float32", "model.lora.rank=4",
             "model.lora.targets.language=lm_head|q_proj", "dataset.source.train_rows=8", "preflight.cache=null")  # fmt: skip
    policy = built(*words).policy
    policy.save(tmp_path)
    assert any("lm_head.base_layer" in name for name in load_file(tmp_path / ADAPTER))
    other = built(*words, tremble=False).policy
    other.load(tmp_path)
    assert all(torch.equal(parameter, trained(policy)[name]) for name, parameter in trained(other).items())


@pytest.fixture(scope="module")
def full(built: Build) -> Policy:
    """The language model in full, no adapter."""
    policy = built("model.lora=null", tremble=False).policy
    trembling(policy, size=0.01)
    return policy


WHOLE: dict[str, tuple[Change, str]] = {
    "a frozen tensor": (without("visual.blocks.0.norm1"), r"it lacks: 1 \(model\.visual\.blocks\.0\.norm1"),
    "nan": (put("k_proj.weight", with_number(float("nan"))), r"holds NaN or infinite numbers, in tensors: \d+"),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_model_as_checkpoint_that_does_not_fit_is_refused(full: Policy, tmp_path: Path, case: str) -> None:
    change, told = WHOLE[case]
    full.save(tmp_path)
    full.load(tmp_path)  # whole, its tied head left out
    assert "lm_head.weight" not in load_file(tmp_path / WEIGHTS)
    rewritten(tmp_path / WEIGHTS, change)
    before = {name: parameter.clone() for name, parameter in full.vlm.named_parameters()}
    with pytest.raises(ValueError, match=told) as caught:
        full.load(tmp_path)
    assert str(tmp_path / WEIGHTS) in str(caught.value)
    assert all(torch.equal(parameter, before[name]) for name, parameter in full.vlm.named_parameters())


def test_a_checkpoint_of_another_kind_or_model_is_refused(
    full: Policy, teacher: Policy, family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    teacher.save(tmp_path / "adapter")
    with pytest.raises(ValueError, match=r"holds an adapter, but model\.lora=null"):
        full.load(tmp_path / "adapter")
    full.save(tmp_path / "whole")
    with pytest.raises(FileNotFoundError, match=r"is not there"):
        teacher.load(tmp_path / "whole")
    AutoModelForImageTextToText.from_pretrained(family_folder("qwen2_5_vl")).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=r"other does not fit the model: .*take model\.name"):
        full.load(tmp_path / "other")
