"""Which runs there are, what they are by their manifests, which count, what is said of them, and the tables of runs and alerts."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from case_files import cases
from fake_runs import write_manifest, write_study
from hand_runs import BY_HAND, ENDPOINT, SETTING, VANILLA, cells_of, records_of, write_by_hand

from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.records import read_records, select_runs
from vlm_rl.reports.reading.roles import role_of
from vlm_rl.reports.reading.runs import ReportError, find_runs, vanilla_folder
from vlm_rl.reports.tables.accuracy_tables import accuracy_table
from vlm_rl.reports.tables.run_tables import alert_table, run_table
from vlm_rl.reports.tables.table_3 import table3_table


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
    assert vanilla_folder(find_runs([one]).runs[0]) == study / "vanilla-1a2b3c4d" / "seed-1"


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


def test_a_study_of_nothing_but_broken_manifests_is_refused_with_their_names(tmp_path: Path) -> None:
    write_run(tmp_path / "s" / "v", role="student")
    with pytest.raises(
        ReportError, match=r"No run could be read\.\n.*seed-0/manifest\.json could not be read .*role is 'student'"
    ):
        find_runs([tmp_path / "s"])


def test_a_manifest_reads_back_without_parts_of_the_wrong_kind(tmp_path: Path) -> None:
    write_run(tmp_path / "s" / "v", seed=7, status="running", git=None, data=["a"], config="none")
    (run,) = find_runs([tmp_path / "s"]).runs
    found = (run.algorithm, run.seed, run.finished, run.vanilla, run.commit, run.data, run.config)
    assert found == ("grpo", 7, False, None, "", {}, {})
    records = records_of(tmp_path / "s")
    assert "s/v/seed-7 has no evaluation that could be read." in records.problems
    assert records.splits() == records.settings() == []


@pytest.mark.parametrize("role", [None, "", "Teacher", 3, ["policy"], {"policy": 1}, "x" * 100_000])
def test_what_is_no_role_is_refused_in_a_few_words(role: Any) -> None:
    with pytest.raises(ValueError, match="which is none of policy, teacher, vanilla, evaluated") as error:
        role_of({"algorithm": "grpo", "role": role})
    assert len(str(error.value)) < 150


def test_the_role_and_not_the_name_of_the_algorithm_says_what_an_arm_is(tmp_path: Path) -> None:
    """An SFT arm, an RL arm and their vanilla model, renamed."""
    study = write_study(tmp_path / "s", seeds=(0, 1), epochs=1, questions=4)
    names = {"reinforce_pp": "sft", "sft": "a_teacher", "vanilla": "grpo"}
    change(study, lambda manifest: {"algorithm": names[manifest["algorithm"]]})
    renamed = records_of(study)
    shown = [(arm.label, arm.is_vanilla, arm in renamed.trained) for arm in renamed.arms]
    assert shown == [("sft", False, True), ("a_teacher", False, True), ("grpo", True, False)]
    means = [column.key for column in table3_table(renamed).columns if column.key.endswith("_mean")]
    assert means == ["a_teacher_mean", "sft_mean"]
    assert [run.vanilla for run in renamed.arms[0].runs] == [run.run for run in renamed.arms[2].runs]
    (arm,) = records_of(write_run(tmp_path / "t" / "algorithm-vanilla", algorithm="vanilla", role="policy")).arms
    assert (arm.label, arm.is_vanilla) == ("vanilla (algorithm-vanilla)", False)  # the vanilla model's name stays its own


def test_of_runs_of_the_same_arm_and_seed_the_finished_one_counts_and_else_the_first(tmp_path: Path) -> None:
    for study, status in (("a", "running"), ("b", "finished"), ("c", "finished")):
        write_by_hand(tmp_path / study, right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 6 if study == "b" else 4}, status=status)
    records = read_records(find_runs([tmp_path / study for study in "abc"]), reflection=None)
    (run,) = records.arms[0].runs
    assert (run.run.study, run.evaluations[1, "val", SETTING].accuracy()) == ("b", 0.6)
    assert records.arms[0].absent == ("a/grpo/seed-0 repeats seed 0", "c/grpo/seed-0 repeats seed 0")


def test_a_vanilla_model_whose_manifest_is_broken_gives_no_epoch_0(tmp_path: Path) -> None:
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
    assert [problem.split(" is one more run")[0] for problem in selection.problems] == [*names]
    assert "Pass the whole folder s/grpo." in selection.problems[0]
    assert find_runs([tmp_path / "s"]).not_passed == ()


def test_a_run_names_every_judge_whose_verdicts_are_on_disk(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 4}, row={"judge_version": "judge-2"})
    write_by_hand(study, right={("grpo", 0, 2): 4})
    change(study, lambda manifest: {"judge_version": "judge-3"})
    assert records_of(study).arms[0].runs[0].run.judge_version == "judge-1, judge-2"


@pytest.mark.parametrize("case", cases("gaps", "problems"))
def test_what_is_missing_or_odd_is_said_with_those_whose_it_is(tmp_path: Path, case: dict[str, Any]) -> None:
    for changes in case["written"]:
        right = {(arm, int(seed), int(epoch)): n for name, n in changes["right"].items() for arm, seed, epoch in [name.split()]}
        rest = {key: value for key, value in changes.items() if key not in ("to", "right")}
        write_by_hand(tmp_path / changes["to"], right=right, **rest)
    passed = case.get("passed") or sorted({changes["to"] for changes in case["written"]})
    found = read_records(find_runs([tmp_path / folder for folder in passed]), reflection=None).problems
    problems = "\n".join(problem for problem in found if "has no generation step" not in problem)
    assert [part for part in case.get("said", "").split(" ... ") if part not in problems] == []
    assert "unsaid" not in case or not re.search(case["unsaid"], problems)


def test_a_whole_study_lacks_only_the_training_that_was_not_written_and_then_what_is_taken_away(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right=BY_HAND)
    unwritten = [f"s/grpo/seed-{n} has no generation step in metrics.jsonl or completions." for n in range(3)]
    assert sorted(records_of(study).problems) == unwritten
    (study / "grpo" / "seed-1" / "evaluations" / "epoch-0003" / f"val_{SETTING}.parquet").unlink()
    for manifest in study.glob("grpo/seed-[01]/manifest.json"):
        manifest.write_text(manifest.read_text().replace('"0123456789abcdef"', "null"))
    lacks, commit = sorted(set(records_of(study).problems) - set(unwritten), reverse=True)
    assert lacks == f"s/grpo/seed-1 lacks 1 evaluations that other runs of its arm have: epoch 3 val {SETTING}."
    assert commit.startswith("The commit of 2 of 6 runs is not known")


def test_what_evaluate_py_measured_is_an_arm_without_training(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 6})
    write_by_hand(tmp_path / "evaluate", right={("hub-model-1a2b", 0, 0): 7}, vanilla=None, role="evaluated")
    records = read_records(find_runs([study, tmp_path / "evaluate"]), reflection=None)
    assert [[arm.label for arm in arms] for arms in (records.shown, records.trained)] == [["grpo", "hub-model-1a2b"], ["grpo"]]
    assert records.shown[1].runs[0].evaluations[0, "val", SETTING].accuracy() == 0.7
    assert not any("hub-model" in problem for problem in records.problems)


def test_each_alert_is_told_by_arm_and_seed_and_a_run_without_the_file_may_never_have_been_watched(
    tmp_path: Path, fake_records: Records
) -> None:
    assert "No run raised an alert" in alert_table(fake_records).note
    study = write_study(tmp_path / "study", epochs=2, questions=2)
    (study / "default" / "seed-1" / "alerts.jsonl").unlink()
    note = alert_table(records_of(study)).note
    assert "1 of 6 runs left no alerts.jsonl: whether anybody watched them is not known." in note
    assert "No run raised an alert" not in note
    raised = {0: [(9, "truncation"), (3, "truncation"), (4, "my_own_rule")], 2: [(7, "truncation"), (None, "kl_explosion")]}
    for seed, alerts in raised.items():
        lines = [{"generation_steps": step, "alert": name, "message": f"{name} at {step}"} for step, name in alerts]
        (study / "default" / f"seed-{seed}" / "alerts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    records = records_of(study)
    rows = alert_table(records).rows
    assert [cells_of(row, "arm", "alert", "seeds", "seed", "step", "times", "message") for row in rows] == [
        ("reinforce_pp", "my_own_rule", "1 of 3", 0, 4, 1, "my_own_rule at 4"),
        ("reinforce_pp", "Responses cut off", "2 of 3", 0, 3, 2, "truncation at 3"),
        ("reinforce_pp", "Responses cut off", "2 of 3", 2, 7, 1, "truncation at 7"),
    ]
    keys = ("run", "status", "generation_steps", "epochs", "vanilla", "alerts", "judge", "commit", "hash")
    assert [cells_of(row, *keys) for row in run_table(records).rows[:2]] == [
        (f"study/default/seed-{seed}", "finished", 10, 2, "yes", alerts, "judge-1", "0123456789", "a" * 8)
        for seed, alerts in ((0, 3), (1, None))
    ]


def test_unfinished_runs_are_listed_and_left_out_of_means(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={key: count for key, count in BY_HAND.items() if key[1] < 2})
    write_by_hand(study, right={("grpo", 2, 1): 0}, status="running")
    records = records_of(study)
    (row,) = accuracy_table(records, endpoint=ENDPOINT).rows
    assert cells_of(row, "seeds", "last_epoch") == (2, 3)
    assert {row["run"]: row["status"] for row in run_table(records).rows}["s/grpo/seed-2"] == "unfinished, left out"
