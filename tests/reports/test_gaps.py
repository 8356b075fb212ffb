"""Empty, unfinished and mixed studies say what is missing, and whose it is."""

import re
from pathlib import Path
from typing import Any

import pytest
from case_files import cases
from fake_runs import write_evaluation, write_manifest
from hand_runs import BY_HAND, SETTING, VANILLA, records_of, write_by_hand

from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import ReportError, find_runs


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


def test_subsets_of_questions_are_said_with_the_arms_that_were_asked_them(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 4, ("rloo", 0, 1): 5})
    few = {"outcome": lambda q, s: True, "questions": 6, "samples": 1}
    write_evaluation(study / "rloo" / "seed-0", epoch=1, split="val", setting=SETTING, **few)
    (problem,) = [problem for problem in records_of(study).problems if "questions" in problem]
    assert "On val (pass@1_t0.6) not everyone was asked the same questions, seed 0" in problem
    assert "set 1 of 10 questions: grpo; set 2 of 6 questions: rloo" in problem


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


def test_a_run_that_left_nothing_but_a_manifest_says_so(tmp_path: Path) -> None:
    write_manifest(tmp_path / "s" / "v" / "seed-7", algorithm="grpo", seed=7, arm="ab" * 8, vanilla=None)
    records = records_of(tmp_path / "s")
    assert "s/v/seed-7 has no evaluation that could be read." in records.problems
    assert records.splits() == records.settings() == []


def test_what_evaluate_py_measured_is_an_arm_without_training(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 6})
    write_by_hand(tmp_path / "evaluate", right={("hub-model-1a2b", 0, 0): 7}, vanilla=None, role="evaluated")
    records = read_records(find_runs([study, tmp_path / "evaluate"]), reflection=None)
    assert [[arm.label for arm in arms] for arms in (records.shown, records.trained)] == [["grpo", "hub-model-1a2b"], ["grpo"]]
    assert records.shown[1].runs[0].evaluations[0, "val", SETTING].accuracy() == 0.7
    assert not any("hub-model" in problem for problem in records.problems)


def test_a_study_of_nothing_but_broken_manifests_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "s" / "v" / "seed-0").mkdir(parents=True)
    (tmp_path / "s" / "v" / "seed-0" / "manifest.json").write_text('{"study": "a"')
    with pytest.raises(ReportError, match=r"No run could be read\.\n.*seed-0/manifest\.json could not be read"):
        find_runs([tmp_path / "s"])
