"""Whatever is done to a finished study is named, and its arm is doubted; an untouched study raises no doubt."""

import shutil
from pathlib import Path

import attacks
import pytest
from attacks import ARM, OTHER, Attack
from hand_runs import records_of
from written_study import SEEDS, before_hashes, note_checkpoint

from vlm_rl.callbacks.saved_steps import remember_finished
from vlm_rl.checksums import hash_of
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.reading.doubts import Kind
from vlm_rl.reports.reading.families import unverified
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.tables.run_tables import run_table
from vlm_rl.run_folder import RunFolder

FOUND: list[tuple[Attack, set[Kind], bool]] = [  # (what is done, kinds of doubts, whether they are found without hashes)
    (attacks.answers_set_right, {"changed_files"}, True),
    (attacks.accuracies_set_right_without_their_verdicts, {"changed_files"}, True),
    (attacks.answers_set_wrong_in_vanilla_alone, {"changed_files"}, True),
    (attacks.hardest_questions_removed, {"other_counts"}, True),
    (attacks.wrong_samples_removed, {"other_counts"}, True),
    (attacks.samples_renumbered, {"other_counts"}, True),
    (attacks.epoch_removed, {"changed_files", "other_counts"}, True),
    (attacks.epoch_added, {"changed_files", "other_counts"}, True),
    (attacks.epochs_swapped, {"changed_files"}, True),
    (attacks.evaluation_of_another_seed, {"changed_files"}, True),
    (attacks.evaluations_of_another_arm, {"changed_files"}, True),
    (attacks.file_cut_off, {"changed_files"}, True),
    (attacks.rows_doubled, {"changed_files"}, True),
    (attacks.hashes_removed, {"changed_files"}, False),
    (attacks.hashes_of_another_run, {"changed_files"}, False),
    (attacks.log_cut_off, {"changed_files", "changed_config"}, True),
    (attacks.evaluation_and_log_edited_together, {"changed_files"}, False),
    (attacks.all_but_the_checkpoints_made_again, {"changed_files"}, False),
    (attacks.vanilla_seed_removed, {"changed_files"}, True),
    (attacks.seed_removed, {"missing_seeds"}, True),
    (attacks.manifest_of_a_seed_removed, {"missing_seeds"}, True),
    (attacks.seed_removed_from_every_arm, {"missing_seeds"}, True),
    (attacks.seed_removed_that_only_the_sweep_names, {"missing_seeds"}, True),
    (attacks.seed_removed_of_a_group, {"missing_seeds"}, True),
    (attacks.seed_renamed, {"changed_config"}, True),
    (attacks.seed_copied_under_another, {"repeated_run"}, True),
    (attacks.endpoint_rewritten, {"changed_config"}, True),
    (attacks.endpoint_rewritten_and_sealed, {"changed_config"}, True),
    (attacks.plan_rewritten_and_seals_deleted, {"changed_config"}, False),
    (attacks.bad_seed_called_unfinished, {"changed_config"}, True),
    (attacks.other_step_picked, {"changed_config"}, True),
    (attacks.other_vanilla_model, {"changed_config"}, False),
    (attacks.bad_seed_made_another_arm, {"missing_seeds"}, True),
]


@pytest.fixture
def study(written_study: Path) -> Path:
    return written_study


def scores(run: RunRecords) -> dict[tuple[int, str, str], float]:
    return {cell: one.accuracy() for cell, one in run.evaluations.items()}


def attacked(records: Records) -> Arm:
    """The arm with most seeds of the attacked variant."""
    arms = [arm for arm in records.trained if arm.runs[0].run.variant == ARM]
    return max(arms, key=lambda arm: len(arm.runs))


def test_an_untouched_study_raises_no_doubt_and_is_verified(study: Path) -> None:
    records = records_of(study)
    assert [arm.doubts for arm in records.arms] == [(), (), ()]
    assert records.problems == ()
    assert {row["files"] for row in run_table(records).rows} == {"verified"}


def doubted(records: Records) -> set[Kind]:
    """The kinds of doubts of the attacked arm, all of which are told."""
    doubts = attacked(records).doubts
    assert all({doubt.said, f"{doubt.said} [{doubt.kind}]"} & {*records.problems} for doubt in doubts)
    return {doubt.kind for doubt in doubts}


@pytest.mark.parametrize(("attack", "kinds"), [pytest.param(*case[:2], id=case[0].__name__) for case in FOUND])
def test_what_was_done_to_a_study_is_a_doubt_and_is_told(study: Path, attack: Attack, kinds: set[Kind]) -> None:
    attack(study)
    assert kinds <= doubted(records_of(study))


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "kinds"), [pytest.param(*case[:2], id=case[0].__name__) for case in FOUND if case[2]])
def test_most_of_it_is_found_in_a_study_from_before_the_hashes(study: Path, attack: Attack, kinds: set[Kind]) -> None:
    attack(before_hashes(study))
    for file in study.rglob("hashes.json"):
        file.unlink()
    assert kinds <= doubted(records_of(study))


def test_an_untouched_study_from_before_the_hashes_is_unverified_and_not_doubted(study: Path) -> None:
    records = records_of(before_hashes(study))
    assert [arm.doubts for arm in records.arms] == [(), (), ()]
    assert records.problems == ()
    (said,) = unverified(records.arms)
    assert said.startswith("9 of 9 finished runs are unverified")
    assert {row["files"] for row in run_table(records).rows} == {"unverified"}


def test_an_arm_that_was_left_alone_is_not_doubted_for_another_one(study: Path) -> None:
    attacks.answers_set_right(study)
    records = records_of(study)
    assert [arm.label for arm in records.arms if arm.doubts] == ["reinforce_pp"]
    assert [row["files"] for row in run_table(records).rows].count("changed") == 1


def test_doubts_name_run_file_and_both_values(study: Path) -> None:
    attacks.answers_set_right(study)
    by_hash, by_log = (doubt.said for doubt in attacked(records_of(study)).doubts)
    assert by_hash == (
        "s/algorithm-reinforce_pp/seed-0: 1 files are not those that the run wrote, by their hashes: "
        "evaluations/epoch-0002/test_pass@1_t0.6.parquet has changed."
    )
    assert "The first is epoch 2 test/pass@1_t0.6: " in by_log
    assert by_log.endswith("% was logged, and the file gives 100.000 %.")


def test_arms_that_were_not_passed_belong_to_the_family_with_their_scores_and_doubts(study: Path) -> None:
    attacks.evaluation_of_another_seed(study)
    records = read_records(find_runs([study / OTHER]), reflection=None)
    assert [arm.label for arm in records.arms] == ["sft"]
    (beside,) = records.beside
    assert (beside.label, [run.run.seed for run in beside.runs]) == ("reinforce_pp", [*SEEDS])
    assert {doubt.kind for doubt in beside.doubts} == {"changed_files"}
    whole = records_of(study)
    assert [scores(run) for run in beside.runs] == [scores(run) for run in attacked(whole).runs]
    assert any("were not passed: reinforce_pp." in problem for problem in records.problems)
    assert whole.beside == ()


def test_seeds_that_were_not_passed_are_doubts_of_their_arm(study: Path) -> None:
    records = read_records(find_runs([study / ARM / "seed-0", study / ARM / "seed-2"]), reflection=None)
    (arm,) = records.trained
    assert {doubt.kind for doubt in arm.doubts} == {"missing_seeds"}
    assert "s/algorithm-reinforce_pp/seed-1 is one more run" in arm.doubts[0].said
    assert [arm.label for arm in records.beside] == ["sft"]


def test_a_seed_that_only_another_arm_has_is_no_doubt(study: Path) -> None:
    for file in study.glob("*/seed-*/manifest.json"):
        run = RunFolder(path=file.parent)
        manifest = run.manifest or {}
        run.write_manifest(manifest | {"command": f"python train.py seed={manifest['seed']}"})
    (study / "multirun.yaml").unlink()
    attacks.seed_removed(study)
    records = records_of(study)
    assert [arm.doubts for arm in records.arms] == [(), (), ()]
    assert "reinforce_pp has no run of these seeds, which other arms of the same study have: 1." in records.problems[0]


def test_an_arm_that_a_command_names_and_that_is_not_there_is_told(study: Path) -> None:
    shutil.rmtree(study / OTHER)
    records = records_of(study)
    assert attacked(records).doubts == ()
    (problem,) = records.problems
    assert "names arms of which no run is there: algorithm=sft." in problem


def test_a_begun_run_is_no_missing_seed(study: Path) -> None:
    run = RunFolder(path=study / ARM / "seed-1")
    run.clear()
    run.write_manifest((run.manifest or {}) | {"status": "running"})
    assert attacked(records_of(study)).doubts == ()


def test_who_makes_every_hash_and_note_again_is_not_found(study: Path) -> None:
    """What an outside signature is for."""
    attacks.all_but_the_checkpoints_made_again(study)
    run = RunFolder(path=study / ARM / "seed-0")
    shutil.rmtree(run.path / "checkpoints")
    run.hashes = {name: hash_of(run.path / name) for name in run.remembered("a finished run") if name.endswith(".parquet")}
    note_checkpoint(run, step=4)
    remember_finished(run)
    assert not any(doubt.kind == "changed_files" for doubt in attacked(records_of(study)).doubts)
