"""A run goes on with the data and the base model that it began with; what else has changed is told and kept, never overwritten."""

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from known_runs import NOW, begun, with_value
from PIL import Image

from vlm_rl.arm_hash import PLAN
from vlm_rl.callbacks.saved_steps import SavedStep
from vlm_rl.commands.build import composed, plain
from vlm_rl.commands.identity import (
    check_identity,
    code_identity,
    history_of,
    in_force,
    rows_identity,
    stored_manifest,
)
from vlm_rl.commands.manifest import check_same_config
from vlm_rl.commands.run_start import manifest_of
from vlm_rl.datasets.dataset import SPLITS
from vlm_rl.datasets.row import Row
from vlm_rl.run_folder import RunFolder


@dataclass(frozen=True)
class Shade:
    """A picture that is known by its shade."""

    key: str
    size: tuple[int, int] = (2, 2)

    def load(self) -> Image.Image:
        return Image.new("RGB", self.size)


ROWS = [
    Row(id=str(i), question=f"<image>What is {i} + 1?", answer=str(i + 1), solution=f"It is {i + 1}.", images=(Shade(f"{i}"),))
    for i in range(3)
]


def told_by(rows: list[Row]) -> dict[str, Any]:
    """The manifest of a run whose training rows are these."""
    identity = rows_identity(rows)
    rest = {part: NOW["rows"][part] | {"train": identity[part]} for part in ("hash", "count")}
    return NOW | {"data": NOW["data"] | {"train": identity["content"]}, "rows": rest}


CHANGED_ROWS: dict[str, Callable[[list[Row]], list[Row]]] = {
    "answer": lambda rows: [replace(rows[0], answer="7"), *rows[1:]],
    "question": lambda rows: [*rows[:2], replace(rows[2], question="<image>What is 2 and 1?")],
    "solution only": lambda rows: [rows[0], replace(rows[1], solution="2."), rows[2]],
    "no solution": lambda rows: [rows[0], replace(rows[1], solution=None), rows[2]],
    "picture": lambda rows: [replace(rows[0], images=(Shade("9"),)), *rows[1:]],
    "id": lambda rows: [replace(rows[0], id="00"), *rows[1:]],
    "kind": lambda rows: [replace(rows[0], kind="sum"), *rows[1:]],
    "further column": lambda rows: [replace(rows[0], fields={"level": "2"}), *rows[1:]],
    "order": lambda rows: [rows[1], rows[0], rows[2]],
    "fewer": lambda rows: rows[:2],
    "one twice": lambda rows: [*rows, rows[2]],
}


@pytest.mark.parametrize("change", CHANGED_ROWS)
def test_changed_rows_are_refused_with_the_split_the_counts_and_the_way_out(tmp_path: Path, change: str) -> None:
    stored, rows = told_by(ROWS), CHANGED_ROWS[change](ROWS)
    check_identity(stored, told_by(copy.deepcopy(ROWS)), splits=SPLITS, folder=tmp_path)  # the control
    why = rf"rows have changed: train \(3 rows then, {len(rows)} rows now\)\. Nothing was written.*study=NAME, or remove that folder"
    with pytest.raises(ValueError, match=why) as refused:
        check_identity(stored, told_by(rows), splits=SPLITS, folder=tmp_path)
    assert str(tmp_path) in str(refused.value) and "val" not in str(refused.value)


def test_texts_do_not_run_into_each_other() -> None:
    one, other = (replace(ROWS[0], answer=answer, solution=solution) for answer, solution in (("1", "23"), ("12", "3")))
    assert rows_identity([one])["hash"] != rows_identity([other])["hash"]


def go_on(folder: RunFolder, now: dict[str, Any], *, steps: int = 0) -> dict[str, Any]:
    """The manifest with which a run goes on from a generation step."""
    check_identity(stored_manifest(folder) or {}, now, splits=SPLITS, folder=folder.path)
    return manifest_of(folder, now, resumed=SavedStep(generation_steps=steps, path=folder.path) if steps else None)


TOLD = {  # key -> (value now, what is printed, key in the history)
    "versions/torch": ("2.9", "versions.torch: 2.8 before, 2.9 now", "versions.torch"),
    "versions/peft": ("1.0", "versions.peft: none before, 1.0 now", "versions.peft"),
    "machine": ("one H200", "machine: Linux x86_64, 2 CPU cores, no GPU before, one H200 now", "machine"),
    "threads/torch": (8, "threads.torch: 2 before, 8 now", "threads.torch"),
    "git/commit": ("decaf", "git.commit: c0ffee before, decaf now", "git.commit"),
    "git/diff": ("99", "git.diff: none before, 99 now", "git.diff"),
    "code/own.Term": ("44", "the source of own.Term has changed", "code.own.Term"),
    "judge_version": ("8", "THE JUDGE HAS CHANGED: 7 before, 8 now", "judge_version"),
    "command": ("python train.py", "command: python train.py algorithm=grpo before, python train.py now", "command"),
    "searchpath": (["pkg://own"], "searchpath: [] before, ['pkg://own'] now", "searchpath"),
    "config/checkpoint/every": (5, "config.checkpoint.every: 10 before, 5 now", "config.checkpoint.every"),
}


@pytest.mark.parametrize("key", TOLD)
def test_what_else_has_changed_is_told_and_appended_and_the_first_values_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    value, line, name = TOLD[key]
    now, folder = with_value(NOW, key, value), begun(tmp_path / "run")
    written = go_on(folder, now, steps=4)
    printed = capsys.readouterr().out
    assert line in printed and "goes on from generation step 4" in printed
    first, second = written["history"]
    assert first == NOW["history"][0]
    assert second["generation_steps"] == 4 and second["host"] and second["time"] > "2026-01-01"
    assert list(second["changed"]) == [name] and second["changed"][name]["now"] == value
    expected = NOW | ({"searchpath": value} if key == "searchpath" else {})  # where the configs lie now
    assert {k: v for k, v in written.items() if k != "history"} == {k: v for k, v in expected.items() if k != "history"}


def test_every_resume_appends_an_entry_and_each_change_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, elsewhere = NOW, with_value(with_value(NOW, "machine", "one H200"), "threads/torch", 8)
    folder = begun(tmp_path / "run")
    for now, is_told in ((here, False), (elsewhere, True), (elsewhere, False), (here, True)):
        folder.write_manifest(go_on(folder, now))
        assert ("machine: " in capsys.readouterr().out) == is_told
    stored = stored_manifest(folder)
    assert stored is not None
    assert [sorted(entry["changed"]) for entry in history_of(stored)] == [
        [],
        [],
        both := ["machine", "threads.torch"],
        [],
        both,
    ]
    assert stored["machine"] == NOW["machine"] and in_force(stored)["threads.torch"] == 2


def test_a_finished_run_that_is_repaired_keeps_what_it_picked_and_is_running_again(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run", NOW | {"status": "finished", "picked_step": 6})
    written = go_on(folder, NOW | {"wandb_id": "new"})
    assert (written["status"], written["picked_step"], written["wandb_id"]) == ("running", 6, "abcd")


def test_a_manifest_of_an_older_version_is_compared_where_it_can_be_and_the_rest_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begun(tmp_path / "run", {key: NOW[key] for key in NOW if key not in ("weights", "code", "rows", "history")})
    with pytest.raises(ValueError, match=r"rows have changed: val \(unknown then, 8 rows now\)"):
        go_on(folder, with_value(NOW, "data/val", "99"))
    folder.write_manifest(go_on(folder, NOW))
    assert "not recorded until now, and so not compared: code." in capsys.readouterr().out
    stored = stored_manifest(folder)
    assert stored is not None and "weights" not in stored  # nobody knows what it began with
    go_on(folder, NOW)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match=r"base model has changed: config\.json\."):
        go_on(folder, with_value(NOW, "weights/files/config.json/all", "99"))
    with pytest.raises(ValueError, match=r"rows have changed: test \(8 rows then, 7 rows now\)"):
        go_on(folder, with_value(with_value(NOW, "rows/hash/test", "99"), "rows/count/test", 7))


@pytest.mark.parametrize("history", ["none", [3], [{"time": "now"}], [{"changed": []}]])
def test_a_history_that_cannot_be_read_is_an_error_that_names_the_file(tmp_path: Path, history: object) -> None:
    folder = begun(tmp_path / "run", NOW | {"history": history})
    with pytest.raises(ValueError, match=r"run/manifest\.json: `history` is no list of starts"):
        go_on(folder, NOW)


def test_the_source_of_a_teams_own_class_is_part_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own_rewards_of_a_test.py"
    file.write_text("class Term:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = {"reward": {"terms": [{"_target_": "own_rewards_of_a_test.Term"}, {"_target_": "vlm_rl.rewards.judge.Judge"}]}}
    before = code_identity(config)
    assert before.keys() == {"vlm_rl", "own_rewards_of_a_test.Term", "vlm_rl.rewards.judge.Judge"}
    assert None not in before.values()
    file.write_text("class Term:\n    scale = 2\n")
    assert {key for key, value in code_identity(config).items() if value != before[key]} == {"own_rewards_of_a_test.Term"}
    del sys.modules["own_rewards_of_a_test"]


def test_a_run_that_could_not_declare_a_plan_goes_on_and_one_that_did_keeps_it(tmp_path: Path) -> None:
    """Versions before the plan wrote configs without its keys."""
    cfg, folder = composed(["study=s"]), RunFolder(path=tmp_path)
    now = plain(cfg)
    before = copy.deepcopy(now)
    for part in set(PLAN) - {"reference"}:
        del before["evaluation"]["scheme"]["endpoint"][part]
    check_same_config(NOW | {"config": before}, cfg, folder)
    with pytest.raises(ValueError, match=r"endpoint\.planned_looks: 1 there, 5 here"):
        check_same_config(NOW | {"config": now}, composed(["study=s", "evaluation.scheme.endpoint.planned_looks=5"]), folder)
    with pytest.raises(ValueError, match=r"endpoint\.setting: 'pass@1_t0\.6' there, 'pass@8_t1\.0' here"):
        check_same_config(
            NOW | {"config": before}, composed(["study=s", "evaluation.scheme.endpoint.setting=pass@8_t1.0"]), folder
        )
