"""What is frozen stays as it was, what is adapted changes through its adapters alone, what is trained in full changes wholly."""

import io
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from rich.console import Console
from sight import LORA_LAYERS, adapters, learn, logits, tiny
from transformers import PreTrainedModel

from vlm_rl.models.parts import PARTS, Lora, check_engine, find_parts, part_table, prepare, sizes, trained

KINDS = ("frozen", "LoRA", "full")
# Of the 27 choices nine that hold each state of each part, and each pair of states of two parts.
CHOICES = [dict(zip(PARTS, (KINDS[i], KINDS[j], KINDS[(i + j + 1) % 3]), strict=True)) for i in range(3) for j in range(3)]
THREE = [CHOICES[1], CHOICES[5], CHOICES[6]]  # each state of each part


def prepared(states: dict[str, str], *, dtype: str = "float32") -> tuple[PreTrainedModel, PeftModel | None]:
    vlm = tiny(dtype=dtype)
    frozen, lora = ([part for part, state in states.items() if state == kind] for kind in ("frozen", "LoRA"))
    return vlm, prepare(vlm, freeze=frozen, lora=adapters(*lora), seed=0)


def expected_changes(states: dict[str, str]) -> set[str]:
    """Names of the parameters that are to change, by hand."""
    names, parts = set(), find_parts(tiny())
    for name, _ in tiny().named_parameters(remove_duplicate=False):
        part = parts.part_of(name)
        if states[part] == "full":
            names.add(name)
        elif states[part] == "LoRA" and LORA_LAYERS[part].fullmatch(name):
            layer = name.removesuffix(".weight")
            names |= {f"{layer}.lora_A.default.weight", f"{layer}.lora_B.default.weight"}
    return names


@pytest.mark.parametrize(
    "states",
    [pytest.param(c, marks=() if c in THREE else pytest.mark.slow) for c in CHOICES],
    ids=lambda states: "-".join(states.values()),
)
def test_two_steps_change_exactly_what_was_asked_and_plain_peft_loads_it(states: dict[str, str], tmp_path: Path) -> None:
    vlm, adapter = prepared(states)
    assert (adapter is not None) == ("LoRA" in states.values())
    original = logits(tiny())
    assert torch.equal(logits(vlm), original)  # adapters begin as no change at all
    before = {name: value.clone() for name, value in vlm.state_dict().items()}
    learn(vlm)
    changed = {name for name, value in vlm.state_dict().items() if not torch.equal(value, before[name])}
    expected = expected_changes(states)
    assert {name.replace("modules_to_save.default.", "") for name in changed} == expected
    assert ("lm_head.weight" in expected) == (states["language"] == "full")  # tied: trained in both places, as one tensor
    assert not torch.allclose(logits(vlm), original, atol=1e-3)
    if adapter is not None:
        with adapter.disable_adapter():
            assert torch.equal(logits(vlm), original)  # the vanilla model, although whole parts were trained
        adapter.save_pretrained(tmp_path)
        loaded = PeftModel.from_pretrained(tiny(), tmp_path)
        assert torch.equal(logits(loaded), logits(vlm))
        torch.testing.assert_close(logits(loaded.merge_and_unload()), logits(vlm), atol=1e-4, rtol=1e-4)


def test_trained_parameters_come_by_part_language_first_and_a_tied_tensor_once() -> None:
    vlm, _ = prepared(dict.fromkeys(PARTS, "full"))
    groups = trained(vlm)
    assert list(groups) == ["language", "connector", "vision"]
    assert sum(map(len, groups.values())) == len(list(tiny().parameters()))
    assert len({id(p) for group in groups.values() for p in group}) == sum(map(len, groups.values()))


RANK_2 = {  # parameters of the adapters: rank x (inputs + outputs) of each layer
    "vision": 2 * 2 * ((96 + 288) + (96 + 96) + 3 * (96 + 256)),
    "connector": 2 * ((384 + 384) + (384 + 128)),
    "language": 3 * 2 * (4 * (128 + 128) + 3 * (128 + 384)),
}
DTYPES = {"frozen": ("bfloat16",), "LoRA": ("bfloat16", "float32"), "full": ("float32",)}


@pytest.mark.parametrize("states", THREE, ids=lambda states: "-".join(states.values()))
def test_the_table_counts_every_parameter_once_and_no_vanilla_copy(states: dict[str, str]) -> None:
    whole = {size.part: size.total for size in sizes(tiny())}
    assert sum(whole.values()) == sum(p.numel() for p in tiny().parameters()) == 1_238_432
    for size in sizes(prepared(states, dtype="bfloat16")[0]):
        state = states[size.part]
        adapted = RANK_2[size.part] if state == "LoRA" else 0
        assert size.total == whole[size.part] + adapted
        assert size.trainable == {"frozen": 0, "LoRA": adapted, "full": whole[size.part]}[state]
        assert size.state == {"LoRA": "LoRA r=2"}.get(state, state)
        assert size.tied == (size.part == "language")
        assert size.dtypes == DTYPES[state]


def test_the_printed_table_names_states_sizes_and_rates() -> None:
    vlm, _ = prepared({"vision": "frozen", "connector": "full", "language": "LoRA"}, dtype="bfloat16")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(part_table(sizes(vlm), rates={"language": 1e-3, "connector": 2.5e-5}))
    lines = [line.split("│")[1:-1] for line in console.export_text(clear=False).splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert cells[0] == ["vision", "frozen", "336,448", "0", "bf16", "-"]
    assert cells[1] == ["connector", "full", "197,216", "197,216", "fp32", "2.5e-05"]
    assert cells[2] == ["language", "LoRA r=2", "720,128", "15,360", "bf16 + fp32", "0.001"]
    assert cells[3][:4] == ["all", "16.95 %", "1,253,792", "212,576"]  # 212,576 / 1,253,792
    assert "LM head and embeddings are one tied tensor" in console.export_text()


@pytest.mark.parametrize(
    ("freeze", "targets", "message"),
    [
        (["head"], None, r"model.freeze: unknown part head; the parts are vision, connector, language"),
        ([], {"visual": ".*"}, r"model.lora.targets: unknown part visual; the parts are vision"),
        (
            ["vision", "connector"],
            {"vision": "qkv"},
            r"vision is in model.freeze and in model.lora.targets.*model.freeze=\[connector\]",
        ),
        (["vision"], {"language": None}, r"model.lora has no targets.*model.lora=null"),
    ],
)
def test_a_choice_that_makes_no_sense_is_an_error_that_names_the_keys(
    freeze: list[str], targets: dict[str, str | None] | None, message: str
) -> None:
    lora = None if targets is None else Lora(rank=1, alpha=1, targets=targets)
    with pytest.raises(ValueError, match=message):
        prepare(tiny(), freeze=freeze, lora=lora, seed=0)


def test_the_seed_alone_decides_how_adapters_begin() -> None:
    def first_matrices(seed: int) -> list[torch.Tensor]:
        vlm = tiny()
        prepare(vlm, freeze=["vision", "connector"], lora=adapters("language"), seed=seed)
        return [p.detach() for name, p in vlm.named_parameters() if ".lora_A." in name]

    state = torch.get_rng_state()
    one, again, other = first_matrices(1), first_matrices(1), first_matrices(2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, one, again))
    assert not any(map(torch.equal, one, other))


def test_an_engine_that_would_not_see_what_a_part_learns_is_refused() -> None:
    vlm, _ = prepared({"vision": "LoRA", "connector": "frozen", "language": "LoRA"})
    check_engine(vlm, engine="HuggingFaceEngine", synced_parts=frozenset(PARTS))
    with pytest.raises(
        ValueError, match=r"Server would ignore what vision learns.*model.freeze=\[vision,connector\].*rollout=huggingface"
    ):
        check_engine(vlm, engine="Server", synced_parts=frozenset({"language"}))
    vlm, _ = prepared(dict.fromkeys(PARTS, "frozen") | {"language": "LoRA"})
    check_engine(vlm, engine="Server", synced_parts=frozenset({"language"}))
