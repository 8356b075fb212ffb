"""The reader's choice of completions is bounded, always the same, and holds what a reader looks for."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_runs import sample_row, write_completions, write_evaluation, write_manifest, write_rows, write_study
from hand_runs import ENDPOINT, SETTING, records_of
from usual import usual_settings

from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.completions import Completion, completions_for_reader, find_images

AHA = {"number": 1, "correct": True, "response": "<b>Wait</b>, I verify. \u202e \\boxed{5}"}
PLAIN = {"number": 2, "correct": False, "response": "9"}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Two seeds of RL and SFT over two epochs, with ten steps of completions of RL's; nothing in it is changed."""
    study = write_study(tmp_path_factory.mktemp("studies") / "s", seeds=(0, 1), epochs=2, questions=8)
    for seed in (0, 1):
        for step in range(1, 11):
            write_completions(study / "default" / f"seed-{seed}", step=step, rows=[PLAIN] * 5 + [AHA] * 4)
    return records_of(study)


def chosen(records: Records, **changes: Any) -> tuple[Completion, ...]:
    size = usual_settings(reader={"cases_per_group": changes.pop("cases_per_group", 4)}).reader
    return completions_for_reader(records, endpoint=ENDPOINT, size=size, **changes)


def test_every_group_has_its_cases_and_no_more(records: Records) -> None:
    cases = chosen(records)
    assert cases == chosen(records)
    groups = Counter((case.arm, case.run.run.name, case.phase, case.split, case.verdict) for case in cases if not case.is_aha)
    vanilla = Counter((case.run.run.seed, case.split, case.row_id, case.sample) for case in cases if case.epoch == 0.0)
    assert (max(groups.values()), set(vanilla.values())) == (4, {1})  # the model that both arms share is read once
    assert {case.phase for case in cases if case.arm == "sft"} == {"evaluation"}  # a teacher's texts are not shown as its own
    epochs = [{case.epoch for case in cases if case.arm == arm} for arm in ("sft", "vanilla")]
    assert epochs[0] <= {1.0, 2.0}
    assert epochs[1] == {0.0}


def test_training_is_looked_into_from_the_first_step_to_the_last(records: Records) -> None:
    cases = [case for case in chosen(records) if case.phase == "training" and case.run.run.seed == 0]
    aha = [case for case in cases if case.is_aha]
    assert [case.generation_steps for case in aha] == [1, 1, 1]
    assert {case.generation_steps for case in cases if case.verdict == "wrong"} == {1, 4, 7, 10}
    rewards = {"accuracy": 1.0, "language": 0.0}
    assert (aha[0].answer, aha[0].response, aha[0].score, aha[0].rewards) == ("5", AHA["response"], 1.0, rewards)
    assert (aha[0].run.run.name, aha[0].epoch, aha[0].sample, aha[0].image_ids) == ("s/default/seed-0", 0.2, 5, ("image-0000",))


def test_there_are_bounds_for_a_run_and_for_all(records: Records) -> None:
    assert max(Counter(case.run.run.name for case in chosen(records, cases_per_group=50)).values()) <= 60
    assert max(Counter(case.run.run.name for case in chosen(records, most_of_a_run=10)).values()) == 10
    assert len(chosen(records, most_in_all=40)) <= 40


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run without anything but its manifest."""
    write_manifest(tmp_path / "s" / "grpo" / "seed-0", algorithm="grpo", seed=0, arm="a" * 16, vanilla=None)
    return tmp_path / "s" / "grpo" / "seed-0"


def test_long_texts_are_cut_and_the_number_of_characters_left_out_is_said(run: Path) -> None:
    long = {"response": "x" * 2**20, "question": "q" * 5000, "answer": "a" * 5000}
    row = sample_row(0, sample=0, correct=True, split="val", setting=SETTING, epoch=2, **long)
    write_rows(run / "evaluations" / "epoch-0002" / f"val_{SETTING}.parquet", rows=[row])
    (case,) = chosen(records_of(run))
    assert [len(text) for text in (case.response, case.question, case.answer)] == [2000] * 3
    assert case.num_characters_left_out == 2**20 - 2000


def test_a_file_that_went_bad_after_it_was_read_costs_its_own_cases_only(run: Path) -> None:
    files = [write_completions(run, step=step, rows=[PLAIN]) for step in (1, 2, 3)]
    records = records_of(run)
    files[-1].write_bytes(b"PAR1")
    assert [case.generation_steps for case in chosen(records)] == [1, 2]


@pytest.mark.parametrize(
    ("run", "variant", "found_in"),
    [
        ("default/seed-0", "default", [".", "default"]),
        ("default/seed-0/evaluate/step-1a/seed-0", "default/evaluate/step-1a", [".", "default/seed-0/evaluate"]),
    ],
)
def test_pictures_are_the_nearest_ones_of_the_study(tmp_path: Path, run: str, variant: str, found_in: list[str]) -> None:
    """evaluate.py keeps pictures beside what it made in a run; what its vanilla model was shown lies in the study."""
    study = (tmp_path / "outputs" / "s").resolve()
    write_manifest(study / run, algorithm="evaluated", seed=0, arm="a" * 16, vanilla=None, study="s", variant=variant)
    asked = {"questions": 1, "image_id": "one+../secret+none+two/..+"}
    write_evaluation(study / run, epoch=0, split="val", setting=SETTING, outcome=lambda q, s: True, **asked)
    (case, *_) = chosen(records_of(study / run))
    outside = [study.parent / "images" / "one.png", tmp_path / "images" / "one.png", study / "secret.png"]
    inside = [(study / where / "images" / "one.png").resolve() for where in found_in]
    for pictures, found in ((outside, ()), (inside[:1], (inside[0],)), (inside[1:], (inside[1],))):
        for picture in pictures:
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.touch()
        assert find_images(case) == found
