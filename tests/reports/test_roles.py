"""What a run is, by its manifest: the role that it names, and before there were roles the name of its algorithm."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_manifest, write_study

from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.roles import ROLES, role_of
from vlm_rl.reports.reading.runs import Run, find_runs
from vlm_rl.reports.tables.table_3 import table3_table


def test_a_manifest_from_before_roles_goes_by_the_name_of_its_algorithm() -> None:
    names = {"vanilla": "untrained", "sft": "teacher", "evaluated": "evaluated"}
    assert {name: role_of({"algorithm": name}) for name in names} == names
    assert {role_of({"algorithm": name}) for name in ("grpo", "reinforce_pp", "distill", "SFT", "vanilla2", "")} == {"policy"}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("algorithm", ["vanilla", "sft", "evaluated", "grpo", "distill"])
def test_a_role_that_is_named_counts_whatever_the_algorithm_is_called(algorithm: str, role: str) -> None:
    assert role_of({"algorithm": algorithm, "role": role}) == role


@pytest.mark.parametrize("role", [None, "", "Teacher", "student", 3, True, ["policy"], {"policy": 1}, "x" * 100_000])
def test_what_is_no_role_is_refused_in_a_few_words(role: Any) -> None:
    with pytest.raises(ValueError, match="which is none of policy, teacher, untrained, evaluated") as error:
        role_of({"algorithm": "grpo", "role": role})
    assert len(str(error.value)) < 150


@pytest.mark.parametrize("algorithm", [None, ["sft"], {"sft": 1}, 7])
def test_an_algorithm_that_is_no_name_makes_no_role(algorithm: Any) -> None:
    assert role_of({"algorithm": algorithm}) == "policy"


def test_a_run_of_an_unknown_role_is_left_out_and_named(tmp_path: Path) -> None:
    for seed, role in enumerate(["policy", "student"]):
        run = tmp_path / "s" / "v" / f"seed-{seed}"
        write_manifest(run, algorithm="grpo", seed=seed, arm="a" * 16, vanilla=None, role=role)
    found = find_runs([tmp_path / "s"])
    assert [run.seed for run in found.runs] == [0]
    assert "seed-1/manifest.json could not be read and its run is left out" in found.problems[0]
    assert "role is 'student', which is none of policy, teacher, untrained, evaluated" in found.problems[0]


def test_a_study_reads_alike_with_and_without_roles(tmp_path: Path) -> None:
    """An SFT arm, an RL arm and their untrained model, as they were written then and now."""
    study = write_study(tmp_path / "s", seeds=(0, 1), epochs=1, questions=4)
    then = read_records(find_runs([study]), reflection=None)
    roles = {"reinforce_pp": "policy", "sft": "teacher", "vanilla": "untrained"}
    change(study, lambda manifest: {"role": roles[manifest["algorithm"]]})
    now = read_records(find_runs([study]), reflection=None)
    assert [[run.run for run in arm.runs] for arm in then.arms] == [[run.run for run in arm.runs] for arm in now.arms]
    assert table3_table(then).rows == table3_table(now).rows
    assert [arm.label for arm in now.arms] == ["reinforce_pp", "sft", "vanilla"]
    assert then.problems == now.problems == ()


def test_with_swapped_names_each_arm_stays_in_the_place_of_its_role(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s", seeds=(0, 1), epochs=1, questions=4)
    swapped = {"reinforce_pp": ("sft", "policy"), "sft": ("a_teacher", "teacher"), "vanilla": ("grpo", "untrained")}
    change(study, lambda manifest: dict(zip(("algorithm", "role"), swapped[manifest["algorithm"]], strict=True)))
    records = read_records(find_runs([study]), reflection=None)
    assert [arm.label for arm in records.arms] == ["sft", "a_teacher", "grpo"]
    assert [arm.label for arm in records.trained] == ["sft", "a_teacher"]
    means = [column.key for column in table3_table(records).columns if column.key.endswith("_mean")]
    assert means == ["a_teacher_mean", "sft_mean"]
    (untrained,) = (arm for arm in records.arms if arm.is_untrained)
    assert [run.untrained for run in records.arms[0].runs] == [run.run for run in untrained.runs]


def test_an_arm_called_vanilla_is_not_taken_for_the_untrained_model_that_is_not_there(tmp_path: Path) -> None:
    run = tmp_path / "s" / "algorithm-vanilla" / "seed-0"
    write_manifest(run, algorithm="vanilla", seed=0, arm="a" * 16, vanilla=None, role="policy")
    (arm,) = read_records(find_runs([run]), reflection=None).arms
    assert (arm.label, arm.is_untrained) == ("vanilla (algorithm-vanilla)", False)


def test_a_run_that_is_made_by_hand_is_a_policy(tmp_path: Path) -> None:
    known: dict[str, Any] = {"path": tmp_path, "study": "s", "variant": "v", "seed": 0, "arm": "a", "finished": True}
    run = Run(**known, algorithm="vanilla", judge_version="", commit="", data={}, vanilla=None)
    assert (run.role, run.is_untrained, run.is_evaluated_only) == ("policy", False, False)


def change(study: Path, changes: Any) -> None:
    """Every manifest of a study, with what `changes` makes of it."""
    for file in study.glob("*/seed-*/manifest.json"):
        manifest = json.loads(file.read_text())
        file.write_text(json.dumps(manifest | changes(manifest)))
