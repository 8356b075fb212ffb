"""Which runs there are, what they are by their manifests, and which count where an arm and seed is there twice or not passed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_manifest, write_study
from hand_runs import SETTING, VANILLA, records_of, write_by_hand
from hand_training import run_of

from vlm_rl.reports.reading.records import read_records, select_runs
from vlm_rl.reports.reading.roles import ROLES, role_of
from vlm_rl.reports.reading.runs import ReportError, find_runs, untrained_folder
from vlm_rl.reports.tables.table_3 import table3_table

LATER = ("grpo", "reinforce_pp", "distill", "SFT", "vanilla2", "", None, ["sft"], {"sft": 1}, 7)
NO_ROLES = (None, "", "Teacher", "student", 3, True, ["policy"], {"policy": 1}, "x" * 100_000)


def write_run(folder: Path, *, seed: int = 0, arm: str = "a" * 16, algorithm: str = "grpo", **changes: Any) -> Path:
    write_manifest(folder / f"seed-{seed}", algorithm=algorithm, seed=seed, arm=arm, vanilla=None, **changes)
    return folder / f"seed-{seed}"


def change(study: Path, changes: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Every manifest of a study, with what `changes` makes of it."""
    for file in study.glob("*/seed-*/manifest.json"):
        manifest = json.loads(file.read_text())
        file.write_text(json.dumps(manifest | changes(manifest)))


def test_study_variant_and_run_folders_all_lead_to_runs(tmp_path: Path) -> None:
    study = write_study(tmp_path / "a", seeds=(0, 1), epochs=1, questions=2)
    names = [f"a/{variant}/seed-{seed}" for variant in ("algorithm-sft", "default", "vanilla-1a2b3c4d") for seed in (0, 1)]
    one = study / "default" / "seed-1"
    passed = ([study], [study / "default"], [one, one])
    assert [[run.name for run in find_runs(folders).runs] for folders in passed] == [names, names[2:4], names[3:4]]
    assert untrained_folder(find_runs([one]).runs[0]) == study / "vanilla-1a2b3c4d" / "seed-1"


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        ("quikstart", r"there is no folder .*quikstart. Nearest in .*: quickstart\."),
        ("nowhere/at-all", "does not exist either"),
        ("quickstart", r"no run under .*quickstart\. Looked for .*manifest\.json.*Folders with runs nearby: .*full"),
    ],
)
def test_a_folder_without_runs_is_answered_with_what_lies_nearby(tmp_path: Path, passed: str, said: str) -> None:
    write_run(tmp_path / "full" / "grpo")
    (tmp_path / "quickstart").mkdir()
    with pytest.raises(ReportError, match=said):
        find_runs([tmp_path / passed])


def test_a_manifest_reads_back_without_parts_of_the_wrong_kind(tmp_path: Path) -> None:
    write_run(tmp_path / "s" / "v", seed=7, status="running", git=None, data=["a"], config="none")
    (run,) = find_runs([tmp_path / "s"]).runs
    found = (run.algorithm, run.seed, run.finished, run.vanilla, run.commit, run.data, run.config)
    assert found == ("grpo", 7, False, None, "", {}, {})


def test_a_manifest_from_before_roles_goes_by_the_name_of_its_algorithm() -> None:
    names = {"vanilla": "untrained", "sft": "teacher", "evaluated": "evaluated"}
    assert {name: role_of({"algorithm": name}) for name in names} == names
    assert {role_of({"algorithm": name}) for name in LATER} == {"policy"}
    assert run_of(seed=0, algorithm="vanilla").run.role == "policy"  # made by hand


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_is_named_counts_whatever_the_algorithm_is_called(role: str) -> None:
    assert {role_of({"algorithm": name, "role": role}) for name in ("vanilla", "sft", "evaluated", "grpo", "distill")} == {role}


@pytest.mark.parametrize("role", NO_ROLES)
def test_what_is_no_role_is_refused_in_a_few_words(role: Any) -> None:
    with pytest.raises(ValueError, match="which is none of policy, teacher, untrained, evaluated") as error:
        role_of({"algorithm": "grpo", "role": role})
    assert len(str(error.value)) < 150


def test_a_run_of_an_unknown_role_is_left_out_and_named(tmp_path: Path) -> None:
    for seed, role in enumerate(["policy", "student"]):
        write_run(tmp_path / "s" / "v", seed=seed, role=role)
    found = find_runs([tmp_path / "s"])
    assert [run.seed for run in found.runs] == [0]
    assert "seed-1/manifest.json could not be read and its run is left out" in found.problems[0]
    assert "role is 'student', which is none of policy, teacher, untrained, evaluated" in found.problems[0]


def test_by_its_role_each_arm_stays_in_its_place_whatever_it_is_called(tmp_path: Path) -> None:
    """An SFT arm, an RL arm and their untrained model, as they were written before there were roles, now, and renamed."""
    study = write_study(tmp_path / "s", seeds=(0, 1), epochs=1, questions=4)
    roles = {"reinforce_pp": "policy", "sft": "teacher", "vanilla": "untrained"}
    names = {"reinforce_pp": "sft", "sft": "a_teacher", "vanilla": "grpo"}
    then = records_of(study)
    change(study, lambda manifest: {"role": roles[manifest["algorithm"]]})
    before, now = (
        [table3_table(records).rows, records.problems, *((arm.label, [run.run for run in arm.runs]) for arm in records.arms)]
        for records in (then, records_of(study))
    )
    assert before == now
    change(study, lambda manifest: {"algorithm": names[manifest["algorithm"]]})
    renamed = records_of(study)
    shown = [(arm.label, arm.is_untrained, arm in renamed.trained) for arm in renamed.arms]
    assert shown == [("sft", False, True), ("a_teacher", False, True), ("grpo", True, False)]
    means = [column.key for column in table3_table(renamed).columns if column.key.endswith("_mean")]
    assert means == ["a_teacher_mean", "sft_mean"]
    assert [run.untrained for run in renamed.arms[0].runs] == [run.run for run in renamed.arms[2].runs]


def test_an_arm_called_vanilla_is_not_taken_for_the_untrained_model_that_is_not_there(tmp_path: Path) -> None:
    (arm,) = records_of(write_run(tmp_path / "s" / "algorithm-vanilla", algorithm="vanilla", role="policy")).arms
    assert (arm.label, arm.is_untrained) == ("vanilla (algorithm-vanilla)", False)


def test_of_runs_of_the_same_arm_and_seed_the_finished_one_counts_and_else_the_first(tmp_path: Path) -> None:
    for study, status in (("a", "running"), ("b", "finished"), ("c", "finished")):
        write_by_hand(tmp_path / study, right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 6 if study == "b" else 4}, status=status)
    records = read_records(find_runs([tmp_path / study for study in "abc"]), reflection=None)
    (run,) = records.arms[0].runs
    assert (run.run.study, run.evaluations[1, "val", SETTING].accuracy()) == ("b", 0.6)
    assert records.arms[0].absent == ("a/grpo/seed-0 repeats seed 0", "c/grpo/seed-0 repeats seed 0")


def test_an_untrained_model_whose_manifest_is_broken_gives_no_epoch_0(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 6})
    (study / VANILLA / "seed-0" / "manifest.json").write_text('{"study": ')
    records = records_of(study / "grpo")
    assert [epoch for epoch, _, _ in records.arms[0].runs[0].evaluations] == [1]
    assert any(f"{VANILLA}/seed-0/manifest.json could not be read" in problem for problem in records.problems)


@pytest.mark.parametrize("passed", [("seed-0", "seed-2"), ("seed-2", "seed-0", "seed-0")])
def test_seeds_that_were_not_passed_are_named_and_runs_of_another_arm_are_not(tmp_path: Path, passed: tuple[str, ...]) -> None:
    for seed in range(5):
        write_run(tmp_path / "s" / "grpo", seed=seed, arm="aaaab"[seed] * 16)
    found = find_runs([tmp_path / "s" / "grpo" / name for name in passed])
    assert [[run.seed for run in runs] for runs in (found.runs, found.not_passed)] == [[0, 2], [1, 3]]
    selection, names = select_runs(found), ("s/grpo/seed-1", "s/grpo/seed-3")
    assert selection.absent == {"a" * 16: tuple(f"{name} was not passed to the report" for name in names)}
    assert [problem.split(" is one more seed")[0] for problem in selection.problems] == [*names]
    assert "Pass the whole folder s/grpo." in selection.problems[0]
    assert find_runs([tmp_path / "s"]).not_passed == ()


def test_a_run_names_every_judge_whose_verdicts_are_on_disk(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 4}, row={"judge_version": "judge-2"})
    write_by_hand(study, right={("grpo", 0, 2): 4})
    change(study, lambda manifest: {"judge_version": "judge-3"})
    assert records_of(study).arms[0].runs[0].run.judge_version == "judge-1, judge-2"
