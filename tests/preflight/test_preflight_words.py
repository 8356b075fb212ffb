"""What a preflight says of rows, parts and refusals; memory and time, which take seconds to estimate, are left out here."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from vlm_rl.commands import preflight as command
from vlm_rl.commands.build import composed
from vlm_rl.models.loading import resolve

JSONL = ("dataset=jsonl", "dataset.batch_size=2", "algorithm.num_minibatches=1", "dataset.epochs=3")
Preflight = Callable[..., str]


@pytest.fixture
def preflight(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Preflight:
    """Runs one and returns all that it says; JSONL files are taken from `tmp_path`."""
    monkeypatch.setattr(command, "estimates", lambda *_, **__: ())

    def run(*overrides: str) -> str:
        folder = [f"dataset.source.folder={tmp_path}"] if "dataset=jsonl" in overrides else []
        command.preflight(composed([*overrides, *folder]), title="t")
        return capsys.readouterr().out

    return run


def write_splits(folder: Path, train: Sequence[dict[str, object]]) -> None:
    """Three files: these rows to train on, two good ones each for the others."""
    for split, first in (("val", 100), ("test", 200)):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(good(i)) + "\n" for i in range(first, first + 2)))
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))


def good(number: int, **further: object) -> dict[str, object]:
    """A row that can be used."""
    return {"id": number, "question": f"What is {number} + {number}?", "answer": str(2 * number), **further}


def test_the_parts_are_those_of_the_model_that_would_be_trained(preflight: Preflight) -> None:
    adapted = preflight("experiment=smoke")
    assert [line.split()[1] for line in adapted.splitlines() if "frozen" in line] == ["vision", "connector"]
    assert re.search(r"language +│ LoRA r=16", adapted)
    full = preflight("experiment=smoke", "model.lora=null", "model.freeze=[vision]")
    assert re.search(r"connector +│ full", full) and re.search(r"language +│ full", full)


def test_a_picture_that_is_cut_off_is_found_by_decoding_and_not_by_headers(preflight: Preflight, tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    write_splits(tmp_path, [good(1), good(2), good(3, question="<image>How long?", image="a.jpg")])
    headers = preflight(*JSONL, "preflight.decode=headers")
    assert "Training could start." in headers
    assert "Of 1 only the header was read; preflight.decode=all decodes them too." in headers
    every = preflight(*JSONL, "preflight.decode=all")
    assert "1 of 3 rows of train cannot be used: mend them, or set dataset.on_bad_row=skip." in every
    assert "a.jpg cannot be read" in every
    assert "Training could start." in preflight(*JSONL, "preflight.decode=all", "dataset.on_bad_row=skip")
    with pytest.raises(ValueError, match="it is one of auto, all, headers"):
        preflight(*JSONL, "preflight.decode=some")


def test_pictures_over_the_budget_are_counted(preflight: Preflight, tmp_path: Path) -> None:
    Image.new("L", (200, 100)).save(tmp_path / "a.png")
    Image.new("L", (300, 100)).save(tmp_path / "b.png")
    write_splits(
        tmp_path, [good(i, question="<image>How long?", image=f"{name}.png") for i, name in enumerate("abab", start=1)]
    )
    told = preflight(*JSONL, "dataset.max_pixels=20000")
    assert "1 have more than dataset.max_pixels=20000 and are shrunk; the largest has 300 x 100." in told


def test_solutions_that_would_be_cut_are_counted_for_who_learns_from_them(preflight: Preflight, tmp_path: Path) -> None:
    write_splits(tmp_path, [good(1, solution="1"), good(2, solution="1 + 1 + 1 + 1 + 1 + 1 + 1")])
    told = preflight(*JSONL, "algorithm=sft", "dataset.max_new_tokens=6")
    assert "1 of 2 solutions over dataset.max_new_tokens=6, which cuts them." in told
    assert "solutions over" not in preflight(*JSONL)


def test_what_a_run_would_refuse_is_said_in_its_own_words(preflight: Preflight) -> None:
    told = preflight("experiment=smoke", "rollout.top_p=0.9", "dataset.source.train_rows=4")
    last = told[told.index("Training could not start:") :]
    assert "dataset.batch_size=8 is more than the 4 training rows" in last
    assert "training samples from the policy itself" in last


def test_without_a_usable_row_the_rest_is_still_told(preflight: Preflight, tmp_path: Path) -> None:
    write_splits(tmp_path, [good(1, answer="???")])
    told = preflight(*JSONL, "dataset.on_bad_row=skip")
    assert re.search(r"train +│ +1 │ +0 │ +1 │ 1 answer cannot be judged", told)
    assert "LoRA r=16" in told
    assert "dataset.batch_size=2 is more than the 0 training rows" in told


def test_weights_that_are_a_pickle_are_refused(preflight: Preflight, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(resolve("tiny"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"its weights in pytorch_model\.bin, a pickle"):
        preflight("experiment=smoke", f"model.name={folder}")
