"""Answers on the disk are taken only for the same model, questions and judge."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from forking import Forking
from safetensors.torch import load_file, save_file

from vlm_rl.commands.evaluation_reuse import check_answers, checkpoint_files
from vlm_rl.durable_files import write_table
from vlm_rl.models.loading import resolve
from vlm_rl.rewards.judge import JUDGE_VERSION
from vlm_rl.run_folder import RunFolder

TOLD: dict[str, Any] = {
    "weights": {"commit": None, "files": {"model.safetensors": {"bytes": 3, "all": "aa"}}},
    "model_files": {"checkpoint/adapter_model.safetensors": "cc"},
    "data": {"val": "11", "test": "22"},
    "rows": {"hash": {"val": "44", "test": "55"}, "count": {"val": 2, "test": 2}},
}
OLDER: dict[str, Any] = {
    "model_files": {"model/model.safetensors": "aa"},
    "data": {"val": "11", "test": "22"},
}  # base model and checkpoint in one place
WHOLE, PART = "evaluations/epoch-0000/val_pass@1_t0.6.parquet", "parts/epoch-0000/val_pass@1_t0.6/rows-000000.parquet"


def folder_with(path: Path, *, answers: str = WHOLE, judge: str = JUDGE_VERSION, told: dict[str, Any] = TOLD) -> RunFolder:
    """An evaluation of which one file is on the disk."""
    folder = RunFolder(path=path)
    folder.write_manifest(told)
    write_table(path / answers, pa.table({"row_id": ["a", "b"], "judge_version": [judge, judge]}))
    return folder


@pytest.mark.parametrize("answers", [WHOLE, PART])
def test_answers_of_the_same_model_data_and_judge_are_taken(tmp_path: Path, answers: str) -> None:
    check_answers(folder_with(tmp_path, answers=answers), manifest=TOLD, splits=["val"])


@pytest.mark.parametrize("answers", [WHOLE, PART])
@pytest.mark.parametrize(
    ("before", "judge", "why"),
    [
        (
            {"weights": {"commit": None, "files": {"model.safetensors": {"bytes": 3, "all": "bb"}}}},
            JUDGE_VERSION,
            r"the base model has changed: model\.safetensors",
        ),
        (
            {"model_files": {"checkpoint/adapter_model.safetensors": "dd"}},
            JUDGE_VERSION,
            r"model has changed since \(checkpoint/ada",
        ),
        ({"model_files": {}}, JUDGE_VERSION, r"model has changed since"),
        ({"data": {"val": "33", "test": "22"}}, JUDGE_VERSION, r"the rows have changed: val \(2 rows then, 2 rows now\)"),
        (
            {"rows": {"hash": {"val": "66", "test": "55"}}},
            JUDGE_VERSION,
            r"the rows have changed: val \(unknown then, 2 rows now\)",
        ),
        ({}, "0-math_verify-0.1", rf"judged by 0-math_verify-0\.1, and this is {JUDGE_VERSION}"),
    ],
)
def test_other_answers_are_refused_with_the_reason_and_what_to_do(
    tmp_path: Path, answers: str, before: dict[str, Any], judge: str, why: str
) -> None:
    folder = folder_with(tmp_path, answers=answers, judge=judge, told=TOLD | before)
    with pytest.raises(ValueError, match=rf"{why}.*Move or remove that folder"):
        check_answers(folder, manifest=TOLD, splits=["val"])


@pytest.mark.parametrize("answers", [WHOLE, PART])
@pytest.mark.parametrize(
    ("now", "why"),
    [
        ({"model.safetensors": {"all": "bb"}}, r"model has changed since \(model\.safetensors\)"),
        ({}, r"model has changed since \(model\.safetensors\)"),
        ({"model.safetensors": {"sample": "ee"}}, r"all bytes of model\.safetensors: identity\.weights=all compares them"),
    ],
)
def test_answers_of_an_older_version_are_compared_by_all_bytes(
    tmp_path: Path, answers: str, now: dict[str, Any], why: str
) -> None:
    folder = folder_with(tmp_path, answers=answers, told=OLDER)
    same = TOLD | {"model_files": {}}
    check_answers(folder, manifest=same, splits=["val"])
    with pytest.raises(ValueError, match=why):
        check_answers(folder, manifest=same | {"weights": {"commit": None, "files": now}}, splits=["val"])


def test_a_split_that_is_not_evaluated_may_change_and_so_may_all_as_long_as_nothing_is_answered(tmp_path: Path) -> None:
    check_answers(folder_with(tmp_path / "a"), manifest=TOLD | {"data": {"val": "11", "test": "99"}}, splits=["val"])
    nothing = RunFolder(path=tmp_path / "b")
    nothing.write_manifest(TOLD)
    other = {"model_files": {}, "weights": {"commit": None, "files": {}}, "data": {}, "rows": {}}
    check_answers(nothing, manifest=other, splits=["val"])


def test_the_content_of_a_checkpoints_files_counts_and_not_where_or_when_they_lie(tmp_path: Path) -> None:
    for name, content in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(content)
        (tmp_path / name / "README.md").write_text(name)
    a, b, c = (checkpoint_files(tmp_path / name) for name in "abc")
    assert a == b != c
    assert list(a) == ["checkpoint/model.safetensors"]
    assert checkpoint_files(None) == {}


@pytest.mark.slow
def test_a_model_that_was_trained_further_in_its_folder_is_not_given_the_old_answers(forking: Forking, tmp_path: Path) -> None:
    model = shutil.copytree(resolve("tiny"), tmp_path / "mine")
    arguments = [f"checkpoint={model}", "experiment=smoke", "num_threads=1", "evaluation.scheme.splits=[val]"]
    arguments += ["dataset.max_new_tokens=4", "dataset.source.val_rows=2"]
    first = forking.run("evaluate.py", arguments, cwd=tmp_path)
    assert first.code == 0, first.out + first.err
    (told,) = tmp_path.glob("outputs/evaluate/*/seed-0/manifest.json")
    before = told.read_text()
    assert "model.safetensors" in json.loads(before)["weights"]["files"]
    weights = load_file(model / "model.safetensors")
    save_file({name: 1.5 * tensor for name, tensor in weights.items()}, model / "model.safetensors", metadata={"format": "pt"})
    second = forking.run("evaluate.py", arguments, cwd=tmp_path)
    assert second.code == 2, second.out + second.err
    assert "the base model has changed: model.safetensors" in second.err
    assert told.read_text() == before
