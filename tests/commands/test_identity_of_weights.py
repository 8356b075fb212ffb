"""A base model is known by the content of its files: another one under the same name is refused, and its files are named."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from known_runs import NOW, change_a_weight
from safetensors.torch import load_file

from vlm_rl.commands.identity import changes, check_identity
from vlm_rl.datasets.dataset import SPLITS
from vlm_rl.models import weights_identity as by_content
from vlm_rl.models.loading import resolve
from vlm_rl.models.weights_identity import weights_identity


def add(name: str, text: str) -> Callable[[Path], None]:
    """Text at the end of a file, which is made where it is not there."""

    def change(folder: Path) -> None:
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(text)

    return change


CHANGED_FILES: dict[str, Callable[[Path], None]] = {
    "model.safetensors": change_a_weight,
    "tokenizer.json": add("tokenizer.json", "\n"),
    "chat_template.jinja": add("chat_template.jinja", " "),
    "processor_config.json": add("processor_config.json", " "),
    "vocab.txt (not there then)": add("vocab.txt", "a"),
    "generation_config.json (not there now)": lambda folder: (folder / "generation_config.json").unlink(),
}


def identity_of(folder: Path, *, reads_all: bool = False) -> dict[str, Any]:
    return weights_identity(str(folder), subfolder="", is_untrained=False, reads_all=reads_all)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(resolve("tiny"), tmp_path / "model"))


@pytest.mark.parametrize("whole_up_to", [by_content.WHOLE, 0], ids=["whole", "sample"])
@pytest.mark.parametrize("change", CHANGED_FILES)
def test_another_base_model_is_refused_and_its_files_are_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, change: str, whole_up_to: int
) -> None:
    monkeypatch.setattr(by_content, "WHOLE", whole_up_to)
    stored = NOW | {"weights": identity_of(model)}
    assert ("sample" in stored["weights"]["files"]["model.safetensors"]) == (whole_up_to == 0)
    copied = shutil.copytree(model, model.with_name("copied"))
    check_identity(stored, NOW | {"weights": identity_of(copied)}, splits=SPLITS, folder=model)  # the control
    CHANGED_FILES[change](model)
    with pytest.raises(ValueError, match=re.escape(f"the base model has changed: {change}. Nothing was written.")):
        check_identity(stored, NOW | {"weights": identity_of(model)}, splits=SPLITS, folder=model)


def test_what_the_first_bytes_of_a_tensor_do_not_show_is_seen_where_all_bytes_are_asked_for(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_content, "WHOLE", 0)
    fast, everything = identity_of(model), identity_of(model, reads_all=True)
    file = model / "model.safetensors"
    content = bytearray(file.read_bytes())
    largest = max((t.numel() * t.element_size(), name) for name, t in load_file(file).items())
    assert largest[0] > 2 * by_content.SAMPLED
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    content[8 + int.from_bytes(content[:8], "little") + header[largest[1]]["data_offsets"][1] - 1] ^= 1
    file.write_bytes(content)
    assert identity_of(model) == fast  # the price of a cheap look, said in conf/train.yaml
    assert identity_of(model, reads_all=True) != everything
    check_identity(NOW | {"weights": fast}, NOW | {"weights": identity_of(model, reads_all=True)}, splits=SPLITS, folder=model)
    with pytest.raises(ValueError, match=r"base model has changed: model\.safetensors\."):
        check_identity(
            NOW | {"weights": everything}, NOW | {"weights": identity_of(model, reads_all=True)}, splits=SPLITS, folder=model
        )


def test_weights_do_not_count_where_a_model_begins_with_random_ones(model: Path) -> None:
    before = weights_identity(str(model), subfolder="", is_untrained=True, reads_all=False)
    change_a_weight(model)
    assert weights_identity(str(model), subfolder="", is_untrained=True, reads_all=False) == before
    assert "config.json" in before["files"] and "model.safetensors" not in before["files"]


def write_snapshot(cache: Path, *, commit: str, files: dict[str, str]) -> None:
    """A commit of `team/model` in a cache of the hub, which is the newest then."""
    place = cache / "models--team--model"
    for name, text in files.items():
        (place / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        (place / "snapshots" / commit / name).write_text(text)
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(commit)


def test_a_model_of_the_hub_is_known_by_the_files_in_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def now() -> dict[str, Any]:
        return NOW | {"weights": weights_identity("team/model", subfolder="", is_untrained=False, reads_all=False)}

    write_snapshot(tmp_path, commit="1" * 40, files={"config.json": "{}", "tokenizer.json": "[]"})
    stored = now()
    assert stored["weights"]["commit"] == "1" * 40
    assert sorted(stored["weights"]["files"]) == ["config.json", "tokenizer.json"]
    write_snapshot(tmp_path, commit="1" * 40, files={"vocab.json": "{}"})  # another program wanted one file more
    check_identity(stored, now(), splits=SPLITS, folder=tmp_path)
    write_snapshot(tmp_path, commit="2" * 40, files={"config.json": "{}", "tokenizer.json": "[]"})  # a new README, say
    check_identity(stored, now(), splits=SPLITS, folder=tmp_path)
    assert changes(stored, now(), keys=["weights"]) == {"weights.commit": {"before": "1" * 40, "now": "2" * 40}}
    write_snapshot(tmp_path, commit="3" * 40, files={"config.json": "{}", "tokenizer.json": "{}"})
    with pytest.raises(ValueError, match=r"base model has changed: tokenizer\.json\."):
        check_identity(stored, now(), splits=SPLITS, folder=tmp_path)


def test_a_model_that_no_cache_holds_is_said_to_be_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = weights_identity("team/model", subfolder="", is_untrained=False, reads_all=False)
    assert found == {"commit": None, "files": {}}
    assert "model.name=team/model: its files are not in the hub's cache" in capsys.readouterr().out
