"""`preflight=true`: everything that can be known of a run before it begins, exit code 2 where it could not, and no folder.

Memory and time, which take seconds to estimate, are traced by the command as it is typed alone.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from forking import Forking
from PIL import Image

from vlm_rl.commands import preflight as command
from vlm_rl.commands import preflight_estimate
from vlm_rl.commands.build import composed
from vlm_rl.commands.preflight_jobs import is_asked, jobs, spelled_out
from vlm_rl.models.loading import resolve
from vlm_rl.preflight import phase as names
from vlm_rl.preflight.phase import Phase
from vlm_rl.preflight.tracker import Operation

JSONL = (
    "dataset=jsonl",
    "dataset.batch_size=2",
    "algorithm.num_minibatches=1",
    "dataset.epochs=3",
    "preflight.device_memory=80GiB",
)
Preflight = Callable[..., str]


def phase(name: str) -> Phase:
    operations = (Operation(flops=1, num_bytes=1, dtype="float32"),)
    parts = {names.WEIGHTS: 5 * 2**20, names.KV_CACHE: 2**20}
    return Phase(name=name, parts=parts, resident=0, operations=operations, num_sequences=1, only_adapters=True)


@pytest.fixture
def preflight(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Preflight:
    """Runs one and returns all that it says; JSONL files are taken from `tmp_path`, and each phase takes 6 MiB."""
    phases = [phase(name) for name in (names.PREFILL, names.UPDATE)]
    monkeypatch.setattr(preflight_estimate, "trace", lambda *_, **__: phases)

    def run(*overrides: str) -> str:
        folder = [f"dataset.source.folder={tmp_path}"] if "dataset=jsonl" in overrides else []
        command.preflight(composed(["preflight.device_memory=80GiB", *folder, *overrides]), title="t")
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


@pytest.mark.slow
def test_the_smoke_experiment_is_told_row_by_row_and_step_by_step(forking: Forking, tmp_path: Path) -> None:
    """16 rows in batches of 8 are 2 steps; 2 epochs of them with 2 updates each are 4 steps and 8 updates."""
    smoke = forking.run("train.py", ["preflight=true", "experiment=smoke"], cwd=tmp_path)
    assert (smoke.code, list(tmp_path.iterdir())) == (0, []), smoke.out + smoke.err
    cells = [re.findall(r"[\w,.%=+:* -]*\w", line) for line in smoke.out.splitlines() if line.startswith("│")]
    rows = {words[0].strip(): [word.strip() for word in words[1:]] for words in cells}
    assert rows["train"] == ["16", "16", "0"]
    assert rows["val"] == rows["test"] == ["8", "8", "0"]
    assert set(rows["train: of which image"]) == {"24"}  # 168 x 112 pixels in cells of 28 x 28
    assert "32 distinct, 32 decoded whole" in smoke.out
    assert "16 training rows in batches of 8 = 2 generation steps an epoch (0 rows" in smoke.out
    assert "2 epochs = 4 generation steps of 8 responses (32) and 2 updates (8)." in smoke.out
    for phase in ("prefill", "scoring", "update", "optimizer step", "step 2, sampling"):
        assert phase in rows
    assert "The whole run, evaluations included: " in smoke.out
    assert smoke.out.rstrip().endswith("Training could start.")


@pytest.mark.parametrize(("size", "last"), [("80GiB", "\nTraining could start."), ("6.5MiB", "and not all is counted.")])
def test_a_cluster_s_run_is_looked_at_from_a_machine_without_its_gpus(preflight: Preflight, size: str, last: str) -> None:
    """Room is the stated one, GPUs and libraries of a cluster need not be here, and no time is made up."""
    words = ("trainer.accelerator=gpu", "model.attention=flash_attention_2", f"preflight.device_memory={size}")
    page = preflight("experiment=smoke", *words)
    assert "(preflight.device_memory: " in page
    assert "what flash_attention_2 takes was not estimated" in page
    assert ("No estimate of time" in page) != torch.cuda.is_available()
    assert page.rstrip().endswith(last)
    assert ("memory would be tight: phase 'prefill' needs 92% of the 6.5 MiB" in page) == (size == "6.5MiB")


def test_bad_rows_are_named_counted_and_end_with_exit_code_2(
    preflight: Preflight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.effect_noise((56, 56), 50).save(tmp_path / "good.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "good.png").read_bytes()[:1500])
    picture = {"question": "<image>How long?", "answer": "7"}
    rows: list[dict[str, object]] = [
        *map(good, range(1, 4)),
        {**good(101), "id": "copy"},  # of the second row of validation
        {**picture, "id": "shown", "image": "good.png"},
        {**picture, "id": "missing", "image": "nothing.png"},
        {**picture, "id": "cut", "image": "half.png"},
        good(4, id="unparsable", answer="???"),
        {"id": "long", "question": "1 + " * 900 + "1?", "answer": "901"},
    ]
    write_splits(tmp_path, rows)
    words = ["preflight=true", *JSONL, f"dataset.source.folder={tmp_path}", "dataset.max_prompt_tokens=500"]
    monkeypatch.setattr(sys, "argv", ["train.py", *spelled_out(words)])
    with pytest.raises(SystemExit, match=r"^2$"):
        command.main()
    page = capsys.readouterr().out
    table = page[: page.index("Problems of train:")]
    for reason in (
        "image not there",
        "image cannot be read",
        "answer cannot be judged",
        "prompt too long",
        "also in val or test",
    ):
        assert f"1 {reason}" in table
    for row in ("missing", "cut", "unparsable", "long"):
        assert f"  row '{row}': its " in page
    assert "  row 'shown'" not in page
    assert "1 training rows are also in val or test and left out." in page
    assert "Over a limit: 1 prompts over dataset.max_prompt_tokens=500." in page
    assert "4 training rows in batches of 2 = 2 generation steps" in page  # 9 less 4 bad ones and the copy
    assert "Training could not start:\n4 of 9 rows of train cannot be used" in page


@pytest.mark.slow
def test_the_parts_are_those_of_the_model_that_would_be_trained(preflight: Preflight) -> None:
    adapted = preflight("experiment=smoke")
    assert [line.split()[1] for line in adapted.splitlines() if "frozen" in line] == ["vision", "connector"]
    assert re.search(r"language +│ LoRA r=16", adapted)
    full = preflight("experiment=smoke", "model.lora=null", "model.freeze=[vision]")
    assert re.search(r"connector +│ full", full) and re.search(r"language +│ full", full)


@pytest.mark.slow
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


@pytest.mark.slow
def test_pictures_over_the_budget_and_solutions_that_would_be_cut_are_counted(preflight: Preflight, tmp_path: Path) -> None:
    for name, width in (("a", 200), ("b", 300)):
        Image.new("L", (width, 100)).save(tmp_path / f"{name}.png")
    solutions = ("1", "1 + 1 + 1 + 1 + 1 + 1 + 1")
    shown = [
        good(i, question="<image>How long?", image=f"{name}.png", solution=text)
        for i, (name, text) in enumerate(zip("ab", solutions, strict=True))
    ]
    write_splits(tmp_path, shown)
    words = (*JSONL, "dataset.max_pixels=20000")
    page = preflight(*words, "algorithm=sft", "dataset.max_new_tokens=6")
    assert "1 have more than dataset.max_pixels=20000 and are shrunk; the largest has 300 x 100." in page
    assert "1 of 2 solutions over dataset.max_new_tokens=6, which cuts them." in page
    assert "solutions over" not in preflight(*words)


def test_without_a_usable_row_the_rest_is_still_told(preflight: Preflight, tmp_path: Path) -> None:
    write_splits(tmp_path, [good(1, answer="???")])
    page = preflight(*JSONL, "dataset.on_bad_row=skip")
    assert re.search(r"train +│ +1 │ +0 │ +1 │ 1 answer cannot be judged", page)
    assert "LoRA r=16" in page
    assert "dataset.batch_size=2 is more than the 0 training rows" in page


def test_weights_that_are_a_pickle_are_refused(preflight: Preflight, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(resolve("tiny"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"its weights in pytorch_model\.bin, a pickle"):
        preflight("experiment=smoke", f"model.name={folder}")


@pytest.mark.slow
@pytest.mark.usefixtures("preflight")
def test_a_sweep_is_told_once_for_each_setting_and_not_for_each_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["preflight.run=true", "experiment=smoke", "algorithm=reinforce_pp,sft", "seed=range(5)"]
    monkeypatch.setattr(sys, "argv", ["train.py", *words, "preflight.device_memory=80GiB", "-m"])
    command.main()
    titles = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("Preflight of ")]
    assert titles == ["Preflight of experiment-smoke,algorithm-reinforce_pp", "Preflight of experiment-smoke,algorithm-sft"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "settings"),
    [(["seeds=paper"], [["seed=0", "seeds=paper"]]), (["seeds=paper", "seed=7,8"], [["seed=7", "seeds=paper"]])],
)
def test_the_first_seed_stands_for_all(words: list[str], settings: list[list[str]]) -> None:
    assert [job.overrides for job in jobs(words)] == settings


def test_the_short_form_is_the_key_and_questions_to_hydra_stay_hydra_s() -> None:
    assert spelled_out(["preflight=true", "a=preflight=true"]) == ["preflight.run=true", "a=preflight=true"]
    assert is_asked(["preflight.run=true", "-m"])
    assert not is_asked(["preflight.run=false"])
    assert not is_asked(["preflight.run=true", "--cfg", "job"])
