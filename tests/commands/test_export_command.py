"""What `export.py` writes: weights that plain Transformers and PEFT load, and a card that claims nothing which no report says."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from exported_runs import ask, export_of, report_on, run_of
from huggingface_hub import ModelCard
from peft import LoraModel, PeftModel
from safetensors.torch import load_file
from tiny_runs import Build
from transformers import AutoModelForImageTextToText, AutoProcessor

from vlm_rl.models.loading import resolve
from vlm_rl.run_folder import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(built: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seed 0 of an arm: adapters that move every trained weight, saved at steps 2 and 4; validation picked 2."""
    return run_of(built("study=s"), tmp_path_factory.mktemp("adapter") / "outputs/s/grpo/seed-0")


@pytest.fixture(scope="module")
def whole_run(built: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained all weights themselves."""
    experiment = built("study=s", "model.lora=null", "model.freeze=[]", "model.vision_cache=0")
    return run_of(experiment, tmp_path_factory.mktemp("whole") / "outputs/s/grpo/seed-0")


def hashes(folder: Path) -> dict[str, str]:
    """Of every file below a folder."""
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("*")) if file.is_file()}


def with_adapter(folder: Path) -> PeftModel:
    """As a person without vlm-rl loads it."""
    return PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(resolve("tiny")), folder).eval()


def test_an_adapter_is_shared_whole_without_pickles_and_loads_in_plain_peft(run: Path, tmp_path: Path) -> None:
    before = hashes(run)
    folder = export_of(run, tmp_path / "mine")
    assert hashes(run) == before
    names = {file.name for file in folder.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "processor_config.json", "README.md"} <= names
    assert not [name for name in names if name.endswith((".pt", ".bin"))]
    saved = load_file(run / "checkpoints/step-000002/adapter_model.safetensors")
    assert load_file(folder / "adapter_model.safetensors").keys() == saved.keys()
    model = with_adapter(folder)
    loaded = {name.replace(".default.", "."): tensor for name, tensor in model.state_dict().items() if "lora_" in name}
    assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.items())
    assert not torch.allclose(ask(model), ask(AutoModelForImageTextToText.from_pretrained(resolve("tiny"))))


@pytest.mark.parametrize(("given", "named"), [(None, "vlm_rl/models/tiny/weights"), ("someone/tiny", "someone/tiny")])
def test_the_adapter_names_its_base_as_others_find_it(run: Path, tmp_path: Path, given: str | None, named: str) -> None:
    folder = export_of(run, tmp_path / "mine", base_model=given, license="apache-2.0")
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == named
    header = ModelCard.load(folder / "README.md").data
    assert header.base_model == given  # the hub knows no folders
    assert (header.library_name, header.license, header.datasets) == ("peft", "apache-2.0", ["micro_geometry"])
    assert {"lora", "peft", "vlm-rl"} <= set(header.tags)


def test_without_a_report_the_card_makes_no_claim(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = (export_of(run, tmp_path / "mine") / "README.md").read_text()
    assert "**Not judged: there is no report report.json of this study.** No claim is made that training helped." in card
    assert "90.0 %" not in card  # the run's own accuracy, without a verdict beside it, would read like one
    assert "Not judged" in capsys.readouterr().out


def test_the_card_carries_the_verdict_of_the_report_word_for_word(run: Path, tmp_path: Path) -> None:
    report = report_on(run, tmp_path / "report.json")
    folder = export_of(run, tmp_path / "mine", report=str(report))
    card = (folder / "README.md").read_text()
    for said in (
        "**rl is an improvement over the vanilla model: +17.8 points (95 % interval +11.5 to +24.1, new seeds and new questions).**",
        "Judged by accuracy on test (pass@1, T = 0.6) at the epoch that val picks, as the runs declared before they started.",
        "- It rests on 5 seeds and 200 questions; each seed is compared with its own vanilla model.",
        "- rl: 3 % of the responses were cut off.",
        "- Model: tiny; data: micro_geometry.",
        "one of them (seed 0)",
        "| test, pass@1_t0.6 | 42.0 % | 90.0 % |",
    ):
        assert said in card, said
    assert "sft" not in card  # what is said of another arm
    assert json.loads((folder / "vlm_rl_export.json").read_text())["verdict"]["outcome"] == "improvement"


def test_no_verdict_is_claimed_for_a_checkpoint_that_validation_did_not_pick(run: Path, tmp_path: Path) -> None:
    report = report_on(run, tmp_path / "report.json")
    card = (export_of(run / "checkpoints/step-000004", tmp_path / "mine", report=str(report)) / "README.md").read_text()
    assert (
        "Not judged: a verdict speaks of the checkpoints that validation picks, and this is another one, step-000004." in card
    )
    assert "improvement" not in card


@pytest.mark.parametrize(("dtype", "rounding"), [(None, 1e-4), ("bfloat16", 2e-1)])
def test_merged_weights_are_the_same_model_and_change_neither_run_nor_base(
    run: Path, tmp_path: Path, dtype: str | None, rounding: float
) -> None:
    """Log-probabilities over the whole vocabulary, in nats, on a prompt that the merge itself never saw."""
    before = hashes(run) | hashes(Path(resolve("tiny")))
    folder = export_of(run, tmp_path / "merged", merge=True, dtype=dtype)
    assert hashes(run) | hashes(Path(resolve("tiny"))) == before
    assert not list(folder.glob("adapter*"))
    merged = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto")
    assert {parameter.dtype for parameter in merged.parameters()} == {getattr(torch, dtype or "float32")}
    beside, base = (
        ask(with_adapter(export_of(run, tmp_path / "adapter"))),
        ask(AutoModelForImageTextToText.from_pretrained(resolve("tiny"))),
    )
    assert float((ask(merged.float()) - beside).abs().max()) < rounding < float((base - beside).abs().max()) / 3
    assert "merged in float32 and rounded once to" in (folder / "README.md").read_text()
    assert ModelCard.load(folder / "README.md").data.library_name == "transformers"
    AutoProcessor.from_pretrained(folder)


def test_a_part_that_was_trained_in_full_beside_lora_is_shared_and_merged_too(built: Build, tmp_path: Path) -> None:
    """The connector, all of whose weights moved."""
    run = run_of(built("study=s", "model.freeze=[vision]"), tmp_path / "outputs/s/grpo/seed-0")
    beside = ask(with_adapter(export_of(run, tmp_path / "adapter")))
    merged = ask(AutoModelForImageTextToText.from_pretrained(export_of(run, tmp_path / "merged", merge=True)))
    assert float((merged - beside).abs().max()) < 1e-4
    names = load_file(run / "checkpoints/step-000002/adapter_model.safetensors").keys()
    assert any("merger" in name and "lora" not in name for name in names)


def test_a_merge_that_forgets_the_adapter_is_found_out_and_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LoraModel, "merge_and_unload", lambda self, **_: self.unload())
    with pytest.raises(ValueError, match=r"merging changed log-probabilities by .* Nothing was kept"):
        export_of(run, tmp_path / "merged", merge=True)
    assert list(tmp_path.iterdir()) == []


def test_a_model_trained_in_full_is_shared_as_it_is(whole_run: Path, tmp_path: Path) -> None:
    folder = export_of(whole_run, tmp_path / "whole", merge=True)  # there is nothing to merge
    saved = load_file(whole_run / "checkpoints/step-000002/model.safetensors")
    assert {name: tensor.tolist() for name, tensor in load_file(folder / "model.safetensors").items()} == {
        name: tensor.tolist() for name, tensor in saved.items()
    }
    assert not (folder / "trainer_state.pt").exists()
    assert "A whole model, trained from" in (folder / "README.md").read_text()


def test_only_a_folder_of_an_earlier_export_is_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds something else than an earlier export"):
        export_of(run, tmp_path / "thesis")
    first = export_of(run, tmp_path / "mine")
    assert "apache-2.0" in (export_of(run, first, license="apache-2.0") / "README.md").read_text()


def test_a_checkpoint_is_no_card_with_gaps_but_says_what_it_is(run: Path) -> None:
    note = (run / "checkpoints/step-000002/README.md").read_text()
    assert "More Information Needed" not in note
    assert "does not say whether training helped" in note


def test_a_vanilla_model_is_nothing_to_share(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is nothing trained to share"):
        export_of(Path("tiny"), tmp_path / "mine")
    assert RunFolder(path=tmp_path).manifest is None
