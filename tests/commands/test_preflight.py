"""`preflight=true`: everything that can be known of a run before it begins, exit code 2 where it could not, and no folder."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from forking import Finished, Forking
from PIL import Image

from vlm_rl.commands.preflight_jobs import is_asked, jobs, spelled_out

JSONL = ("dataset=jsonl", "dataset.source.folder=.", "dataset.batch_size=2", "algorithm.num_minibatches=1", "dataset.epochs=3")


def preflight(forking: Forking, cwd: Path, *overrides: str) -> Finished:
    """The command, which must leave nothing behind."""
    before = sorted(cwd.rglob("*"))
    finished = forking.run("train.py", ["preflight=true", *overrides], cwd=cwd)
    assert "Traceback" not in finished.err
    assert sorted(cwd.rglob("*")) == before
    return finished


def write_splits(folder: Path, train: Sequence[dict[str, object]]) -> None:
    """Three files: these rows to train on, two good ones each for the others."""
    for split, first in (("val", 100), ("test", 200)):
        rows = [{"id": i, "question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(first, first + 2)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))


def good(number: int, **further: object) -> dict[str, object]:
    """A row that can be used."""
    return {"id": number, "question": f"What is {number} + {number}?", "answer": str(2 * number), **further}


@pytest.fixture(scope="module")
def smoke(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return preflight(forking, tmp_path_factory.mktemp("smoke"), "experiment=smoke")


def test_the_smoke_experiment_is_told_row_by_row_and_step_by_step(smoke: Finished) -> None:
    """16 rows in batches of 8 are 2 steps; 2 epochs of them with 2 updates each are 4 steps and 8 updates."""
    assert smoke.code == 0, smoke.out + smoke.err
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


def test_a_cluster_s_run_is_looked_at_from_a_machine_without_its_gpus(forking: Forking, tmp_path: Path) -> None:
    """Room is the stated one, GPUs and libraries of a cluster need not be here, and no time is made up."""
    words = ("experiment=smoke", "trainer.accelerator=gpu", "model.attention=flash_attention_2", "preflight.device_memory=")
    fits, tight = (preflight(forking, tmp_path, *words[:-1], words[-1] + size) for size in ("80GiB", "33MiB"))
    assert fits.code == tight.code == 0, fits.out + fits.err
    assert "preflight.device_memory: 80.0 GiB free" in fits.out
    assert "what flash_attention_2 takes was not estimated" in fits.out
    assert ("No estimate of time" in fits.out) != torch.cuda.is_available()
    assert fits.out.rstrip().endswith("\nTraining could start.")
    assert "Training could start, as far as was checked; memory would be tight: phase 'update' needs 9" in tight.out


def test_bad_rows_are_named_counted_and_end_with_exit_code_2(forking: Forking, tmp_path: Path) -> None:
    Image.effect_noise((56, 56), 50).save(tmp_path / "good.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "good.png").read_bytes()[:1500])
    picture = {"question": "<image>How long?", "answer": "7"}
    rows: list[dict[str, object]] = [
        good(1),
        good(2),
        good(3),
        good(101, id="copy"),
        {**picture, "id": "shown", "image": "good.png"},
        {**picture, "id": "missing", "image": "nothing.png"},
        {**picture, "id": "cut", "image": "half.png"},
        good(4, id="unparsable", answer="???"),
        {"id": "long", "question": "1 + " * 900 + "1?", "answer": "901"},
    ]
    rows[3]["question"], rows[3]["answer"] = "What is 101 + 1?", "102"  # as the second row of validation
    write_splits(tmp_path, rows)
    told = preflight(forking, tmp_path, *JSONL, "dataset.max_prompt_tokens=500")
    assert told.code == 2, told.err
    table = told.out[: told.out.index("Problems of train:")]
    for reason in (
        "image not there",
        "image cannot be read",
        "answer cannot be judged",
        "prompt too long",
        "also in val or test",
    ):
        assert f"1 {reason}" in table
    for row in ("missing", "cut", "unparsable", "long"):
        assert f"  row '{row}': its " in told.out
    assert "  row 'shown'" not in told.out
    assert "1 training rows are also in val or test and left out." in told.out
    assert "Over a limit: 1 prompts over dataset.max_prompt_tokens=500." in told.out
    assert "4 training rows in batches of 2 = 2 generation steps" in told.out  # 9 less 4 bad ones and the copy
    assert "Training could not start:\n4 of 9 rows of train cannot be used" in told.out


def test_a_sweep_is_told_once_for_each_setting_and_not_for_each_seed(forking: Forking, tmp_path: Path) -> None:
    words = ["experiment=smoke", "algorithm=reinforce_pp,sft", "seed=range(5)", "-m"]
    told = preflight(forking, tmp_path, *words)
    assert told.code == 0, told.out + told.err
    titles = [line.split(":")[0] for line in told.out.splitlines() if line.startswith("Preflight of ")]
    assert titles == ["Preflight of experiment-smoke,algorithm-reinforce_pp", "Preflight of experiment-smoke,algorithm-sft"]


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["seeds=paper"], [["seed=0", "seeds=paper"]]),
        (["seeds=paper", "seed=7,8"], [["seed=7", "seeds=paper"]]),
        (["algorithm=grpo,sft", "-m"], [["algorithm=grpo"], ["algorithm=sft"]]),
        (["seed=3"], [["seed=3"]]),
    ],
)
def test_the_first_seed_stands_for_all(words: list[str], settings: list[list[str]]) -> None:
    assert [job.overrides for job in jobs(words)] == settings


def test_the_short_form_is_the_key_and_questions_to_hydra_stay_hydra_s() -> None:
    assert spelled_out(["preflight=true", "a=preflight=true"]) == ["preflight.run=true", "a=preflight=true"]
    assert is_asked(["preflight.run=true", "-m"])
    assert not is_asked(["preflight.run=false"])
    assert not is_asked(["preflight.run=true", "--cfg", "job"])
