"""The reader's choice of completions is bounded, always the same, and holds what a reader looks for."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_runs import sample_row, write_completions, write_evaluation, write_manifest, write_rows, write_study
from hand_runs import ENDPOINT, SETTING, records_of

from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.completions import Completion, completions_for_reader, find_images

AHA = {"number": 1, "correct": True, "response": "Wait, I verify. \\boxed{5}"}
PLAIN = {"number": 2, "correct": False, "response": "9"}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two seeds of RL and SFT over two epochs, with ten steps of completions of RL's."""
    study = write_study(tmp_path / "s", seeds=(0, 1), epochs=2, questions=8)
    for seed in (0, 1):
        for step in range(1, 11):
            write_completions(study / "default" / f"seed-{seed}", step=step, rows=[PLAIN] * 5 + [AHA] * 4)
    return study


def chosen(records: Records, **changes: Any) -> tuple[Completion, ...]:
    return completions_for_reader(
        records, **({"endpoint": ENDPOINT, "cases_per_group": 4, "aha_cases": 3, "longest": 2000} | changes)
    )


def test_every_group_has_its_cases_and_no_more(study: Path) -> None:
    cases = chosen(records_of(study))
    assert cases == chosen(records_of(study))
    groups = Counter((case.arm, case.run, case.phase, case.split, case.verdict) for case in cases if not case.is_aha)
    assert max(groups.values()) == 4
    assert {case.phase for case in cases if case.arm == "sft"} == {"evaluation"}  # a teacher's texts are not shown as its own
    assert {case.epoch for case in cases if case.phase == "evaluation" and case.arm == "sft"} <= {1.0, 2.0}
    assert {case.epoch for case in cases if case.arm == "vanilla"} == {0.0}


def test_training_is_looked_into_from_the_first_step_to_the_last(study: Path) -> None:
    cases = [case for case in chosen(records_of(study)) if case.phase == "training" and case.seed == 0]
    assert [case.generation_steps for case in cases if case.is_aha] == [1, 1, 1]
    assert {case.generation_steps for case in cases if case.verdict == "wrong"} == {1, 4, 7, 10}
    (first, *_) = (case for case in cases if case.is_aha)
    assert (first.answer, first.response, first.score, first.rewards) == (
        "5",
        AHA["response"],
        1.0,
        {"accuracy": 1.0, "language": 0.0},
    )
    assert (first.run, first.epoch, first.sample, first.image_ids) == ("s/default/seed-0", 0.2, 5, ("image-0000",))


def test_the_untrained_model_that_arms_share_is_read_once(study: Path) -> None:
    cases = [case for case in chosen(records_of(study)) if case.epoch == 0.0]
    assert len({(case.seed, case.split, case.row_id, case.sample) for case in cases}) == len(cases)


def test_there_are_bounds_for_a_run_and_for_all(study: Path) -> None:
    records = records_of(study)
    assert max(Counter(case.run for case in chosen(records, cases_per_group=50)).values()) <= 60
    assert max(Counter(case.run for case in chosen(records, most_of_a_run=10)).values()) == 10
    assert len(chosen(records, most_in_all=40)) <= 40


def test_long_texts_are_cut_and_the_number_of_characters_left_out_is_said(study: Path) -> None:
    path = study / "default" / "seed-0" / "evaluations" / "epoch-0002" / f"val_{SETTING}.parquet"
    long = {"response": "x" * 2**20, "question": "q" * 5000, "answer": "a" * 5000}
    write_rows(path, rows=[sample_row(0, sample=0, correct=True, split="val", setting=SETTING, epoch=2, **long)])
    (case,) = [case for case in chosen(records_of(study)) if case.response.startswith("xx")]
    assert (len(case.response), case.num_characters_left_out) == (2000, 2**20 - 2000)
    assert (len(case.question), len(case.answer)) == (2000, 2000)


def test_a_file_that_went_bad_after_it_was_read_costs_its_own_cases_only(study: Path) -> None:
    records = records_of(study)
    (study / "default" / "seed-0" / "completions" / "step-000010.parquet").write_bytes(b"PAR1")
    assert {case.generation_steps for case in chosen(records) if case.phase == "training" and case.seed == 0} == {1, 4, 7}


def test_pictures_are_found_in_the_folder_of_the_study_and_nowhere_else(study: Path) -> None:
    (study / "images").mkdir()
    (study / "images" / "one.png").touch()
    (study / "secret.png").touch()
    run = study / "default" / "seed-0"
    path = write_evaluation(
        run,
        epoch=2,
        split="val",
        setting=SETTING,
        outcome=lambda q, s: True,
        questions=1,
        image_id="one+../secret+none+two/..+",
    )
    assert path.is_file()
    records = records_of(study)
    (case, *_) = (case for case in chosen(records) if "one" in case.image_ids)
    assert find_images(case, records=records) == (study.resolve() / "images" / "one.png",)


@pytest.mark.parametrize(
    ("run", "variant", "found_in"),
    [
        ("default/seed-0", "default", ["default", "."]),
        ("default/seed-0/evaluate/step-1a/seed-0", "default/evaluate/step-1a", ["default/seed-0/evaluate", "."]),
    ],
)
def test_pictures_from_outside_the_study_are_not_taken(tmp_path: Path, run: str, variant: str, found_in: list[str]) -> None:
    """evaluate.py keeps pictures beside what it made in a run; what its untrained model was shown lies in the study."""
    folder = tmp_path / "outputs" / "s" / run
    write_manifest(folder, algorithm="evaluated", seed=0, arm="a" * 16, vanilla=None, study="s", variant=variant)
    write_evaluation(folder, epoch=0, split="val", setting=SETTING, outcome=lambda q, s: True, questions=1, image_id="one")
    records = records_of(folder)
    (case, *_) = chosen(records)
    outside = [tmp_path / "outputs" / "images" / "one.png", tmp_path / "images" / "one.png"]
    for picture in outside:
        picture.parent.mkdir()
        picture.touch()
    assert find_images(case, records=records) == ()
    for where in found_in[::-1]:  # the nearest is taken
        picture = (tmp_path / "outputs" / "s" / where / "images" / "one.png").resolve()
        picture.parent.mkdir(parents=True)
        picture.touch()
        assert find_images(case, records=records) == (picture,)
