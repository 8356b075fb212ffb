"""Empty, unfinished and mixed studies say what is missing, and whose it is."""

from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_evaluation, write_manifest
from hand_runs import BY_HAND, SETTING, VANILLA, records_of, write_by_hand

from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import ReportError, find_runs


def two_arms(folder: Path, **of_rloo: Any) -> str:
    """What is said of two seeds of grpo and of rloo that differ in this."""
    write_by_hand(folder / "s", right={("grpo", 0, 1): 4, ("grpo", 1, 1): 4})
    return "\n".join(records_of(write_by_hand(folder / "s", right={("rloo", 0, 1): 5, ("rloo", 1, 1): 5}, **of_rloo)).problems)


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


def test_an_unfinished_run_and_one_without_an_untrained_model_are_named(tmp_path: Path) -> None:
    problems = "\n".join(records_of(write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 4}, status="running")).problems)
    assert "s/grpo/seed-0 is not finished" in problems
    assert "s/grpo/seed-0 has no evaluation of its untrained model" in problems


def test_a_run_that_left_nothing_but_a_manifest_says_so(tmp_path: Path) -> None:
    write_manifest(tmp_path / "s" / "v" / "seed-7", algorithm="grpo", seed=7, arm="ab" * 8, vanilla=None)
    records = records_of(tmp_path / "s")
    assert "s/v/seed-7 has no evaluation that could be read." in records.problems
    assert records.splits() == records.settings() == []


def test_other_data_and_other_figures_are_said_with_the_arms_that_have_them(tmp_path: Path) -> None:
    said = two_arms(tmp_path, data={"train": "a", "val": "other"}, row={"image_id": "blank"}).splitlines()
    data, figures = (problem for problem in said if "comparable" in problem)
    different = "Runs of one seed have different val data (b: grpo; other: rloo); their accuracies on val are not comparable."
    assert data == different
    assert f"On val ({SETTING}) the same questions were asked with different figures, seed 0" in figures
    assert "(set 1 of 10 questions: grpo; set 2 of 10 questions: rloo)" in figures


def test_subsets_of_questions_are_said_with_the_arms_that_were_asked_them(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 4, ("rloo", 0, 1): 5})
    few = {"outcome": lambda q, s: True, "questions": 6, "samples": 1}
    write_evaluation(study / "rloo" / "seed-0", epoch=1, split="val", setting=SETTING, **few)
    (problem,) = [problem for problem in records_of(study).problems if "questions" in problem]
    assert "On val (pass@1_t0.6) not everyone was asked the same questions, seed 0" in problem
    assert "set 1 of 10 questions: grpo; set 2 of 6 questions: rloo" in problem


def test_a_control_that_says_that_it_shows_other_figures_is_nothing_odd(tmp_path: Path) -> None:
    config = {"evaluation": {"scheme": {"image": {"_target_": "vlm_rl.evaluation.image_control.Blank"}}}}
    assert "comparable" not in two_arms(tmp_path, row={"image_id": "blank"}, config=config)


def test_seeds_that_were_asked_different_questions_are_no_mixture(tmp_path: Path) -> None:
    """The embedded data may be drawn anew for each seed: what is compared is compared within a seed."""
    study = write_by_hand(tmp_path / "s", right={("grpo", 0, 1): 4})
    write_by_hand(study, right={("grpo", 1, 1): 4}, data={"train": "x", "val": "y", "test": "z"})
    assert not any("not comparable" in problem for problem in records_of(study).problems)


def test_what_evaluate_py_measured_is_an_arm_without_training(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right={(VANILLA, 0, 0): 4, ("grpo", 0, 1): 6})
    write_by_hand(tmp_path / "evaluate", right={("hub-model-1a2b", 0, 0): 7}, vanilla=None, role="evaluated")
    records = read_records(find_runs([study, tmp_path / "evaluate"]), reflection=None)
    assert [arm.label for arm in records.shown] == ["grpo", "hub-model-1a2b"]
    assert [arm.label for arm in records.trained] == ["grpo"]
    assert records.shown[1].runs[0].evaluations[0, "val", SETTING].accuracy() == 0.7
    assert not any("hub-model" in problem for problem in records.problems)


@pytest.mark.parametrize("manifest", ['{"study": "a"', "[1]", '{"seed": null}', "", "[" * 100_000, '{"study": 1, "seed": []}'])
def test_a_study_of_nothing_but_broken_manifests_is_refused_in_words(tmp_path: Path, manifest: str) -> None:
    run = tmp_path / "s" / "v" / "seed-0"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text(manifest)
    with pytest.raises(ReportError, match=r"No run could be read\.\n.*seed-0/manifest\.json could not be read"):
        find_runs([tmp_path / "s"])
