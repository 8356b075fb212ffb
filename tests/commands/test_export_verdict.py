"""A verdict is of all runs of a study together: a report that one of them is not in, or not as it is now, says nothing any more."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from exported_runs import ARM, report_on

from vlm_rl.commands.evaluation_target import Target
from vlm_rl.commands.stored_verdict import StoredVerdict, verdict_on
from vlm_rl.run_folder import RunFolder

VANILLA = "fedcba9876543210"
ROWS = (  # of two studies; that of the second has a slash in its name
    ("rl", "s/grpo/seed-0", ARM),
    ("rl", "s/grpo/seed-1", ARM),
    ("sft", "of/sft/variant/seed-0", "aaaaaaaaaaaaaaaa"),
    ("vanilla", "s/vanilla-fe/seed-0", VANILLA),
)


def manifest(outputs: Path, name: str, *, arm: str, age: float) -> None:
    """A run that ended `age` seconds before now."""
    study, variant, seed = name.rsplit("/", 2)
    told = {"study": study, "variant": variant, "seed": int(seed[-1]), "arm": arm, "status": "finished"}
    RunFolder(path=outputs / name).write_manifest(told)
    ended = Path(outputs / name / "manifest.json").stat().st_mtime - age
    os.utime(outputs / name / "manifest.json", (ended, ended))


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Four runs that ended 100 seconds ago, and a report on all of them from 50 seconds ago."""
    for _, name, arm in ROWS:
        manifest(tmp_path / "outputs", name, arm=arm, age=100)
    path = report_on(tmp_path / "outputs" / "s/grpo/seed-0", tmp_path / "outputs/s/report.json", age=-50)
    made = path.stat()
    report = json.loads(path.read_text())
    report["tables"]["runs"] = [{"arm": label, "run": name, "hash": arm[:8], "status": "finished"} for label, name, arm in ROWS]
    path.write_text(json.dumps(report))
    os.utime(path, (made.st_mtime, made.st_mtime))
    return tmp_path / "outputs"


def verdict(outputs: Path, **choices: Any) -> StoredVerdict:
    """On seed 0 of rl."""
    run = outputs / "s/grpo/seed-0"
    target = Target(
        overrides=[], config_name="train", weights=run, generation_steps=2, chosen="picked", run=run, out=run / "evaluate"
    )
    return verdict_on(target, manifest=RunFolder(path=run).manifest or {}, **({"report": None} | choices))


def test_a_report_on_all_runs_as_they_are_is_carried(outputs: Path) -> None:
    assert verdict(outputs).outcome == "improvement"


@pytest.mark.parametrize(
    ("name", "arm", "told"),
    [
        ("s/grpo/seed-0", ARM, "is older than the run s/grpo/seed-0"),
        ("s/grpo/seed-1", ARM, "is older than the run s/grpo/seed-1"),
        ("s/grpo/seed-2", ARM, "is older than the run s/grpo/seed-2"),  # a seed more
        ("s/vanilla-fe/seed-0", VANILLA, "is older than the run s/vanilla-fe/seed-0"),
        ("of/sft/variant/seed-0", "aaaaaaaaaaaaaaaa", "is older than the run of/sft/variant/seed-0"),
    ],
)
def test_any_run_that_ended_after_the_report_takes_its_verdict_away(outputs: Path, name: str, arm: str, told: str) -> None:
    manifest(outputs, name, arm=arm, age=0)
    assert verdict(outputs).said == f"Not judged: the report report.json {told}."
    with pytest.raises(ValueError, match=f"{told}. Make it again: python report.py"):
        verdict(outputs, report=outputs / "s/report.json")


@pytest.mark.parametrize(
    ("name", "arm"), [("s/grpo/seed-2", ARM), ("s/grpo/seed-1", VANILLA), ("s/vanilla-fe/seed-1", VANILLA)]
)
def test_where_copying_lost_the_times_the_arms_still_tell(outputs: Path, name: str, arm: str) -> None:
    manifest(outputs, name, arm=arm, age=100)
    assert verdict(outputs).said == f"Not judged: the report report.json does not have the run {name} as it is now."


def test_runs_that_no_verdict_of_the_report_speaks_of_do_not_matter(outputs: Path) -> None:
    manifest(outputs, "s/another/seed-0", arm="bbbbbbbbbbbbbbbb", age=0)
    manifest(outputs, "t/grpo/seed-0", arm=ARM, age=0)
    assert verdict(outputs).outcome == "improvement"


def test_a_section_that_a_sentence_names_is_said_to_be_in_the_report(outputs: Path) -> None:
    path = outputs / "s/report.json"
    report = json.loads(path.read_text())
    report["decision"]["risks"] = ["Controls are missing. The commands that make them stand under “Was the figure read?”."]
    path.write_text(json.dumps(report))
    assert verdict(outputs).risks == (
        "Controls are missing. The commands that make them stand in the report under “Was the figure read?”.",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hash": "00000000"}, "does not speak of this run"),
        ({"run": "s/grpo/seed-7"}, "does not speak of this run"),
        ({"status": "unfinished, left out"}, "does not speak of this run"),
        ({"arm": "nobody"}, "compares this arm with nothing"),
        ({"format": 1}, "is no report.json of this version"),
    ],
)
def test_a_report_on_something_else_is_refused_if_named_and_else_no_verdict(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    outputs = tmp_path / "outputs"
    manifest(outputs, "s/grpo/seed-0", arm=ARM, age=100)
    report = report_on(outputs / "s/grpo/seed-0", outputs / "s/report.json", **changes)
    with pytest.raises(ValueError, match=message):
        verdict(outputs, report=report)
    assert verdict(outputs).outcome == "not_judged"
