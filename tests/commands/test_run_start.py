"""What a start finds: a run goes on or is refused untouched, and the arms of a study share a vanilla model of one base and one data."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from known_runs import NOW, change_a_weight, with_value
from tiny_commands import only_run

from vlm_rl.commands.job_log import LOG
from vlm_rl.commands.run_start import manifest_of_vanilla
from vlm_rl.datasets.dataset import SPLITS
from vlm_rl.models.loading import resolve
from vlm_rl.run_folder import RunFolder


@pytest.fixture
def vanilla(tmp_path: Path) -> RunFolder:
    """That of the study, as its first arm left it."""
    folder = RunFolder(path=tmp_path / "vanilla-12345678" / "seed-0")
    folder.write_manifest(manifest_of_vanilla(folder, NOW, splits=["val"]))
    return folder


SECOND_ARM = NOW | {"variant": "dapo", "algorithm": "dapo", "code": {"vlm_rl": "11", "vlm_rl.algorithms.dapo.Dapo": "77"}}


def test_the_vanilla_model_is_that_of_its_first_arm_and_another_arm_like_it_adds_nothing(
    vanilla: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = vanilla.manifest
    assert stored is not None and (stored["variant"], stored["role"], stored["vanilla"]) == (
        "vanilla-12345678",
        "vanilla",
        None,
    )
    assert manifest_of_vanilla(vanilla, SECOND_ARM, splits=["val"]) == stored
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("rows/hash/val", "99", r"the rows have changed: val \(8 rows then, 8 rows now\)"),
        ("data/val", "99", r"the rows have changed: val"),
        ("weights/files/model.safetensors/sample", "99", r"the base model has changed: model\.safetensors"),
    ],
)
def test_an_arm_with_other_data_or_another_base_does_not_take_the_studys_vanilla_model(
    vanilla: RunFolder, key: str, value: str, why: str
) -> None:
    with pytest.raises(ValueError, match=rf"vanilla-12345678.*{why}.*another study=NAME"):
        manifest_of_vanilla(vanilla, with_value(SECOND_ARM, key, value), splits=["val"])


@pytest.mark.parametrize(("key", "value"), [("judge_version", "8"), ("versions/torch", "2.9"), ("rows/hash/train", "99")])
def test_an_arm_with_another_judge_or_library_or_other_training_rows_takes_it_and_its_history_says_so(
    vanilla: RunFolder, capsys: pytest.CaptureFixture[str], key: str, value: str
) -> None:
    stored, written = vanilla.manifest, manifest_of_vanilla(vanilla, with_value(SECOND_ARM, key, value), splits=["val"])
    assert stored is not None and "the vanilla model of this study" in capsys.readouterr().out
    assert written | {"history": stored["history"]} == stored
    *_, last = written["history"]
    assert last["by"] == "dapo" and [change["now"] for change in last["changed"].values()] == [value]


def write_rows(folder: Path, *, solution: str) -> None:
    """Three splits of four sums; of the first training row the solution as given."""
    folder.mkdir(exist_ok=True)
    for split in SPLITS:
        rows = [
            {"id": f"{split}-{i}", "question": f"What is {i} + {len(split)}?", "answer": str(i + len(split)), "solution": "s"}
            for i in range(4)
        ]
        if split == "train":
            rows[0]["solution"] = solution
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def words_of(tmp_path: Path, *, num_minibatches: int, run: str) -> list[str]:
    """One step on rows and a model that lie in this folder."""
    return [
        *("dataset=jsonl", f"dataset.source.folder={tmp_path / 'rows'}", "dataset.source.columns.images=null", "reward=random"),
        *("dataset.source.columns.kind=null", "dataset.source.columns.modality=null", "dataset.batch_size=4", "num_threads=1"),
        *(f"model.name={tmp_path / 'model'}", "dataset.max_new_tokens=4", "dataset.epochs=1", "evaluation.scheme.splits=[val]"),
        *("algorithm.score_at=last_token", f"algorithm.num_minibatches={num_minibatches}"),
        *("study=known", f"hydra.run.dir=outputs/known/{run}/seed-0"),
    ]


def content(study: Path) -> dict[Path, bytes]:
    """All files of a study but for the log of what was printed."""
    return {file: file.read_bytes() for file in study.rglob("*") if file.is_file() and file.name != LOG}


@pytest.mark.slow
def test_a_run_whose_files_were_changed_is_refused_untouched_and_goes_on_when_they_are_put_back(
    forking: Forking, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(resolve("tiny"), tmp_path / "model"))
    write_rows(tmp_path / "rows", solution="s")
    words = words_of(tmp_path, num_minibatches=1, run="v")
    first = forking.run("train.py", [*words, "trainer.max_time=00:00:00:00"], cwd=tmp_path)
    assert first.code == 0 and "Stopped at generation step 0" in first.out, first.out + first.err
    run = only_run(tmp_path, study="known")
    before, weights = content(run.path.parents[1]), (model / "model.safetensors").read_bytes()
    write_rows(tmp_path / "rows", solution="t")
    change_a_weight(model)
    refused = forking.run("train.py", words, cwd=tmp_path)
    assert refused.code == 2, refused.out + refused.err
    assert (
        "the rows have changed: train (4 rows then, 4 rows now); the base model has changed: model.safetensors. " in refused.err
    )
    assert "Traceback" not in refused.err
    assert content(run.path.parents[1]) == before
    write_rows(tmp_path / "rows", solution="s")
    (model / "model.safetensors").write_bytes(weights)
    finished = forking.run("train.py", words, cwd=tmp_path)
    assert finished.code == 0 and "command: " in finished.out, finished.out + finished.err
    assert run.manifest is not None and run.manifest["status"] == "finished"
    changed = [sorted(entry["changed"]) for entry in run.manifest["history"]]
    assert changed == [[], ["command", "config.trainer.max_time", "overrides"]]
    assert "max_time" in run.manifest["command"]
    questions = tmp_path / "rows" / "val.jsonl"
    questions.write_text(questions.read_text().replace("What is", "Add"))
    arm = forking.run("train.py", words_of(tmp_path, num_minibatches=2, run="w"), cwd=tmp_path)
    assert arm.code == 2 and "holds the evaluation of the vanilla model" in arm.err, arm.out + arm.err


@pytest.mark.parametrize("other", [{"seed": 1}, {"variant": "vanilla-1"}, {"role": "policy"}])
def test_the_manifest_of_something_else_is_not_taken_for_that_of_the_vanilla_model(
    vanilla: RunFolder, other: dict[str, Any]
) -> None:
    vanilla.write_manifest((vanilla.manifest or {}) | other)
    with pytest.raises(ValueError, match=r"manifest\.json is that of .*and not of this vanilla model\. Put its own back"):
        manifest_of_vanilla(vanilla, NOW, splits=["val"])
